/**
 * `node dev/run.mjs demo|test|model|bench|chaos|images|e2e|check [arguments]`: the door to everything in `dev/`. Plain JavaScript for Node 20 or newer with
 * nothing installed: it installs the npm packages when they are missing or not those of the lock file, then goes on in
 * the Node 24 that is one of them, which runs TypeScript.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const checkout = dirname(dirname(fileURLToPath(import.meta.url)));
const programs = join(checkout, 'node_modules', '.bin');
const [name, ...args] = process.argv.slice(2);

function stop(sentence) {
  console.error(sentence);
  process.exit(1);
}

if (Number(process.versions.node.split('.')[0]) < 20) {
  stop(`This needs Node 20 or newer (https://nodejs.org); this is ${process.version}.`);
}
if (!existsSync(join(checkout, 'dev', `${name}.ts`)))
  stop('Usage: node dev/run.mjs demo|test|model|bench|chaos|images|e2e|check [arguments]');
installPackages();

const entry = join(checkout, 'dev', `${name}.ts`);
const child = spawn(join(programs, 'node'), [entry, ...args], {
  stdio: 'inherit',
  // Programs that ask for `node` are to get the one of the packages, too.
  env: { ...process.env, PATH: `${programs}:${process.env.PATH}` },
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  // Ctrl-C in a terminal reaches the child as well; here it only must not end the parent first.
  process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal));
}
child.on('error', (error) => stop(`Node 24 does not start: ${error.message}`));
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));

function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(checkout, 'package-lock.json')))
    .digest('hex');
  const stamp = join(checkout, 'node_modules', '.vmferry-lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.log('installing the npm packages (npm ci)');
  const options = ['ci', '--loglevel=error', '--no-audit', '--no-fund'];
  const { status } = spawnSync('npm', options, { cwd: checkout, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) stop('`npm ci` failed, see above.');
  if (!existsSync(join(programs, 'node'))) {
    stop(
      'npm did not install the `node` package. If `npm config get ignore-scripts` says true, please set it to false.',
    );
  }
  writeFileSync(stamp, lock);
}
