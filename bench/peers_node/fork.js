'use strict';
// Node's own `child_process.fork`, with the least that several answers under way ask for: an id and a promise each.

const { fork } = require('node:child_process');
const { resolve } = require('node:path');
const { measure, options, pull } = require('./measure.js');

const pending = new Map();
const children = Array.from({ length: options.workers }, () => fork(resolve(__dirname, 'fork_child.js')));
let last = 0;

for (const child of children) {
  child.on('message', ({ id, data }) => {
    pending.get(id)(data);
    pending.delete(id);
  });
}

const ask = (child, data) =>
  new Promise(answer => {
    pending.set(++last, answer);
    child.send({ type: 'request', id: last, data });
  });

measure((inputs, keep) => {
  const todo = inputs[Symbol.iterator]();
  return Promise.all(children.map(child => pull(options.depth, item => ask(child, item), todo, keep)));
}).then(() => children.forEach(child => child.disconnect()));
