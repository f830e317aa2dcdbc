'use strict';
// The limit in Node: `child_process.fork`, and nothing around it.

const { fork } = require('node:child_process');
const { resolve } = require('node:path');
const { measure, options } = require('./measure.js');

const children = Array.from({ length: options.workers }, () => fork(resolve(__dirname, 'fork_child.js')));

function run(inputs, keep) {
  return new Promise(done => {
    const todo = inputs.entries();
    let waiting = 0;
    const post = child => {
      const { value, done: ended } = todo.next();
      if (!ended) {
        child.send({ type: 'request', id: value[0], data: value[1] });
        waiting += 1;
      }
    };
    for (const child of children) {
      child.removeAllListeners('message').on('message', message => {
        keep(message.data);
        waiting -= 1;
        post(child);
        if (waiting === 0) {
          done();
        }
      });
      for (let sent = 0; sent < options.depth; sent++) {
        post(child);
      }
    }
  });
}

measure(run).then(() => children.forEach(child => child.disconnect()));
