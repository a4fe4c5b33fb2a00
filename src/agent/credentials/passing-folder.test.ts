import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { RunVolume } from '../qemu/run-volume.ts';
import { PassingFolder } from './passing-folder.ts';

const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const left = `.vmferry-${podUID}`;
const asRoot = process.geteuid?.() === 0;

let root: string;
let run: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vmferry-passing-'));
  run = join(root, podUID, 'volumes', 'kubernetes.io~empty-dir', 'run');
  mkdirSync(run, { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true }));

test('another user can read the files, whatever the umask, and nothing stays', () => {
  using volume = RunVolume.open(root, podUID);
  const umask = process.umask(0o077);
  try {
    using folder = PassingFolder.create(volume, { 'a.pem': 'one', 'b.pem': 'two' });
    const path = join(run, folder.name);
    expect(readdirSync(path).sort()).toEqual(['a.pem', 'b.pem']);
    expect(readFileSync(join(path, 'b.pem'), 'utf8')).toBe('two');
    expect([path, join(path, 'a.pem')].map((file) => statSync(file).mode & 0o777)).toEqual([0o755, 0o644]);
  } finally {
    process.umask(umask);
  }
  expect(readdirSync(run)).toEqual([]);
});

test('a file that cannot be written leaves nothing of the others', () => {
  using volume = RunVolume.open(root, podUID);
  expect(() => PassingFolder.create(volume, { 'a.pem': 'one', 'no/such/folder': 'two' })).toThrow(/ENOENT/);
  expect(readdirSync(run)).toEqual([]);
});

test('renamed by the guest, the folder is emptied all the same', () => {
  using volume = RunVolume.open(root, podUID);
  {
    using folder = PassingFolder.create(volume, { 'a.pem': 'one' });
    renameSync(join(run, folder.name), join(run, 'taken'));
  }
  expect(readdirSync(join(run, 'taken'))).toEqual([]);
});

test('replaced by a link, what the link leads to is not touched', () => {
  using volume = RunVolume.open(root, podUID);
  const precious = join(root, 'precious');
  mkdirSync(precious);
  writeFileSync(join(precious, 'a.pem'), 'precious');
  const folder = PassingFolder.create(volume, { 'a.pem': 'one' });
  renameSync(join(run, folder.name), join(run, 'taken'));
  symlinkSync(precious, join(run, folder.name));
  expect(() => folder[Symbol.dispose]()).toThrow(/ENOTDIR/);
  expect(readFileSync(join(precious, 'a.pem'), 'utf8')).toBe('precious');
  expect(readdirSync(join(run, 'taken'))).toEqual([]);
});

test('what an agent has left is removed, and nothing else', async () => {
  using volume = RunVolume.open(root, podUID);
  mkdirSync(join(run, left));
  writeFileSync(join(run, left, 'client-key.pem'), 'key');
  mkdirSync(join(run, '.vmferry-other'));
  writeFileSync(join(run, 'qmp'), '');
  await PassingFolder.removeLeft(volume);
  expect(readdirSync(run).sort()).toEqual(['.vmferry-other', 'qmp']);
});

test('a link in the place of what was left is not followed', async () => {
  using volume = RunVolume.open(root, podUID);
  const precious = join(root, 'precious');
  mkdirSync(precious);
  writeFileSync(join(precious, 'file'), '');
  symlinkSync(precious, join(run, left));
  await PassingFolder.removeLeft(volume);
  expect(existsSync(join(precious, 'file'))).toBe(true);
  expect(lstatSync(join(run, left)).isSymbolicLink()).toBe(true);
});

test.skipIf(!asRoot)('a folder of that name which somebody else made is left alone', async () => {
  using volume = RunVolume.open(root, podUID);
  mkdirSync(join(run, left));
  writeFileSync(join(run, left, 'file'), '');
  chownSync(join(run, left), 65532, 65532);
  await PassingFolder.removeLeft(volume);
  expect(readdirSync(join(run, left))).toEqual(['file']);
});
