// The apps for a plain `pm2 start ops/ecosystem.config.cjs` and for pm2-runtime under systemd. TOONFLEET_ROLE picks what
// this machine does: all, balancer or node. The settings are ES modules, which a CommonJS file cannot wait for, so they
// are asked for in a process of their own.

const { execFileSync } = require('node:child_process');
const { existsSync, realpathSync } = require('node:fs');
const { dirname, resolve } = require('node:path');
const { pathToFileURL } = require('node:url');

const root = dirname(dirname(asTyped()));

module.exports = {
  apps: JSON.parse(
    execFileSync(
      process.execPath,
      [
        resolve(root, 'ops/toonfleet.mjs'),
        'pm2-apps',
        '--root',
        root,
        '--role',
        process.env.TOONFLEET_ROLE || 'all',
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
    ),
  ),
};

// pm2-runtime reads this file in the very process that accepts for all: no dying process takes a connection with it. A PM2 in
// the background has to be started with PM2_NODE_OPTIONS="--import …/dist/ops/handed-over.js" for that.
import(pathToFileURL(resolve(root, 'dist/ops/handed-over.js')).href);

/**
 * This file by the path that was typed. `__filename` has its links resolved: with it, apps started through a link to
 * the current release would stay with that release for ever.
 */
function asTyped() {
  const typed = process.argv.find((argument) => argument.endsWith('ecosystem.config.cjs'));
  const pwd = process.env.PWD;
  const cwd = pwd && existsSync(pwd) && realpathSync(pwd) === process.cwd() ? pwd : process.cwd();
  return typed ? resolve(cwd, typed) : __filename;
}
