// A Python child under a Node parent: child_process.fork and nothing else.
//
//   $ node examples/node_parent.mjs
//   a- -> a-a-
//   b- -> b-b-
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

const child = fork(fileURLToPath(new URL("double.py", import.meta.url)), [], {
  execPath: process.env.PYTHON ?? "python3",
  execArgv: [], // Node's own flags mean nothing to Python
});

const next = (type) =>
  new Promise((resolve) => {
    const take = (message) => {
      if (message.type !== type) return;
      child.off("message", take);
      resolve(message);
    };
    child.on("message", take);
  });

await next("ready");
for (const text of ["a-", "b-"]) {
  const reply = next("response");
  child.send({ type: "request", data: text });
  console.log(text, "->", (await reply).data);
}
child.disconnect(); // the Python child ends quietly
