'use strict';

require('@travetto/boot/register');
require('@travetto/base');
const { ChildCommChannel } = require('@travetto/worker');

const channel = new ChildCommChannel();
channel.listenFor('request', ({ data }) => channel.send('response', { data: data + data }));
channel.send('ready');
