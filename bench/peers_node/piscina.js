'use strict';
// piscina: a pool of worker threads.

const { resolve } = require('node:path');
const { Piscina } = require('piscina');
const { measure, options, pull } = require('./measure.js');

const pool = new Piscina({
  filename: resolve(__dirname, 'double.js'),
  minThreads: options.workers,
  maxThreads: options.workers,
  concurrentTasksPerWorker: options.depth,
});

measure((inputs, keep) => pull(options.workers * options.depth, item => pool.run(item), inputs, keep))
  .then(() => pool.destroy());
