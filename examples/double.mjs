// A Node child: no library, only what Node has. `once` or `on("message")` keeps it alive while the parent is there.
process.on("message", (message) => {
  if (message.type === "request") process.send({ type: "response", data: message.data + message.data });
});
process.on("error", () => process.exit()); // the parent was gone before we could send: nobody is left to complain to
process.send({ type: "ready" });
