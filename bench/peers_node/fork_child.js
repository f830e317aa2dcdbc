'use strict';

process.on('message', ({ id, data }) => process.send({ type: 'response', id, data: data + data }));
