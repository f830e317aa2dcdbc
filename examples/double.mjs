// A Node child: no library, only what Node has. `once` or `on("message")` keeps it alive while the parent is there.
process.on("message", (message) => {
  if (message.type === "request") process.send({ type: "response", data: message.data + message.data });
});
process.send({ type: "ready" });
