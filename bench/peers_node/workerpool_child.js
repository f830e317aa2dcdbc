'use strict';

require('workerpool').worker({ double: data => data + data });
