'use strict';
// workerpool: a pool of threads or processes; `type` is 'thread' or 'process'.

const { resolve } = require('node:path');
const workerpool = require('workerpool');
const { measure, options, pull } = require('./measure.js');

const pool = workerpool.pool(resolve(__dirname, 'workerpool_child.js'), {
  workerType: options.type,
  minWorkers: options.workers,
  maxWorkers: options.workers,
});

measure((inputs, keep) => pull(options.workers * options.depth, item => pool.exec('double', [item]), inputs, keep))
  .then(() => pool.terminate());
