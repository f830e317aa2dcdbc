'use strict';
// `bench/load.py` for Node: loads that grow until one lasts long enough, every result checked; prints inputs per second.

const assert = require('node:assert');

const FIRST = 64;
const MOST = 1_000_000;

exports.options = JSON.parse(process.argv[2] ?? '{}');

exports.measure = async function (run) {
  const seconds = exports.options.seconds;
  for (let count = FIRST; ;) {
    const inputs = Array.from({ length: count }, (_, number) => `item-${String(number).padStart(7, '0')}`);
    const results = [];
    const started = process.hrtime.bigint();
    await run(inputs, result => results.push(result));
    const elapsed = Number(process.hrtime.bigint() - started) / 1e9;
    assert.deepStrictEqual(results.sort(), inputs.map(item => item + item).sort());
    if (count > FIRST && (elapsed >= seconds / 2 || count >= MOST)) {
      console.log(count / elapsed);
      return;
    }
    count = Math.min(MOST, 16 * count, Math.max(2 * count, Math.floor(count / elapsed * seconds)));
  }
};

// As many long-lived tasks as may be under way, each pulling the next input.
exports.pull = async function (tasks, execute, inputs, keep) {
  const todo = inputs[Symbol.iterator]();
  const puller = async () => {
    for (const item of todo) {
      keep(await execute(item));
    }
  };
  await Promise.all(Array.from({ length: tasks }, puller));
};
