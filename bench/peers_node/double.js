'use strict';
// The work, as a function: what piscina's threads run.

module.exports = data => data + data;
