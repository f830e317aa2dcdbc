// The child of node_child.py. It is no example by itself: run `python examples/node_child.py`, which starts it.
//
// No library, only what Node has. `once` or `on("message")` keeps it alive while the parent is there.
process.on("message", (message) => {
  if (message.type === "request") process.send({ type: "response", data: message.data + message.data });
});
process.on("error", () => process.exit()); // the parent was gone before we could send: nobody is left to complain to
process.send({ type: "ready" });
