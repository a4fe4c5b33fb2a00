import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RunVolume } from './run-volume.ts';

const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const components = [podUID, 'volumes', 'kubernetes.io~empty-dir', 'run'];

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vmferry-run-volume-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const runFolder = (podsDirectory = root) => join(podsDirectory, ...components);

/** A server cannot bind to a long path either: it goes through a short one to the same folder. */
async function listenIn(folder: string, name: string): Promise<Server & AsyncDisposable> {
  const short = mkdtempSync(join(tmpdir(), 'vmferry-short-'));
  const link = join(short, 'run');
  symlinkSync(folder, link);
  const server = createServer((socket) => socket.end(`this is ${name}`));
  await new Promise<void>((resolve) => server.listen(join(link, name), resolve));
  rmSync(short, { recursive: true });
  return server;
}

async function answerAt(path: string): Promise<string> {
  const socket = connect(path);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text;
}

test('a socket below a root of 200 characters is reached', async () => {
  const long = join(root, ...Array.from({ length: 4 }, () => 'x'.repeat(50)));
  mkdirSync(runFolder(long), { recursive: true });
  await using _server = await listenIn(runFolder(long), 'qmp');
  using volume = RunVolume.open(long, podUID);
  using socket = volume.socket('qmp');
  expect(await answerAt(socket.path)).toBe('this is qmp');
});

test.each(components)('a link in place of %s is refused', (component) => {
  mkdirSync(runFolder(), { recursive: true });
  const path = join(root, ...components.slice(0, components.indexOf(component) + 1));
  renameSync(path, join(root, 'moved'));
  symlinkSync(join(root, 'moved'), path);
  expect(() => RunVolume.open(root, podUID)).toThrow(expect.objectContaining({ code: 'RunVolumeUntrusted' }));
});

test('a pod without a run volume is told apart from a planted one', () => {
  expect(() => RunVolume.open(root, podUID)).toThrow(expect.objectContaining({ code: 'RunVolumeMissing' }));
});

test.each(['../..', '', `${podUID}/..`, podUID.toUpperCase(), 'web'])('%j is no pod UID', (bad) => {
  expect(() => RunVolume.open(root, bad)).toThrow(expect.objectContaining({ code: 'InvalidPodUID' }));
});

describe('the socket', () => {
  beforeEach(() => mkdirSync(runFolder(), { recursive: true }));

  const refused = () => {
    using volume = RunVolume.open(root, podUID);
    expect(() => volume.socket('qmp')).toThrow(expect.objectContaining({ code: 'RunVolumeUntrusted' }));
  };

  test('a link is refused, also one to a socket', async () => {
    await using _server = await listenIn(root, 'elsewhere');
    symlinkSync(join(root, 'elsewhere'), join(runFolder(), 'qmp'));
    refused();
  });

  test('a file is refused', () => {
    writeFileSync(join(runFolder(), 'qmp'), '');
    refused();
  });

  test('says whose it is', async () => {
    await using _server = await listenIn(runFolder(), 'qmp');
    using volume = RunVolume.open(root, podUID);
    using socket = volume.socket('qmp');
    expect(socket.uid).toBe(process.geteuid?.());
  });

  test('replaced after it was checked, the one that was checked is reached', async () => {
    await using _server = await listenIn(runFolder(), 'qmp');
    await using _planted = await listenIn(root, 'planted');
    using volume = RunVolume.open(root, podUID);
    using socket = volume.socket('qmp');
    rmSync(join(runFolder(), 'qmp'));
    symlinkSync(join(root, 'planted'), join(runFolder(), 'qmp'));
    expect(await answerAt(socket.path)).toBe('this is qmp');
  });
});
