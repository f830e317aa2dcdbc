'use strict';
// @travetto/worker 1.1.1, the original: its own README's conversation on its own WorkPool.

const { resolve } = require('node:path');

process.env.TRV_CACHE = resolve(__dirname, '../node_modules/.trv_cache'); // it is TypeScript and compiles itself, once
process.env.TRV_DEBUG = '0'; // its log of every message, which an application in production turns off, too
require('@travetto/boot/register');
require('@travetto/base'); // what replaces `console.debug` has to come before what calls it
const { IterableInputSource, WorkPool, WorkUtil } = require('@travetto/worker');
const { measure, options } = require('./measure.js');

let keep;

const pool = new WorkPool(
  () =>
    WorkUtil.spawnedWorker(resolve(__dirname, 'travetto_child.js'), {
      handlers: {
        init: channel => channel.listenOnce('ready'),
        async execute(channel, input) {
          const response = channel.listenOnce('response');
          channel.send('request', { data: input });
          keep((await response).data);
        },
      },
    }),
  { min: options.workers, max: options.workers },
);

measure((inputs, keepResult) => {
  keep = keepResult;
  return pool.process(new IterableInputSource(inputs));
}).then(() => pool.shutdown());
