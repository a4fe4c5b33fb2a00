import { getEventListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { QmpConnection } from './connection.ts';
import { probe } from './features.ts';
import { event, FakeMonitor } from './testdata/fake-monitor.ts';
import { readAll } from './testdata/read-all.ts';

describe('opening', () => {
  test('reads the version and then sends commands with an id', async () => {
    await using monitor = await FakeMonitor.listen();
    monitor.answer = () => ({ return: { running: true, status: 'running' } });
    await using connection = await QmpConnection.open(monitor.path);
    expect(connection.version).toEqual({ major: 10, minor: 1, micro: 2, package: 'fake' });
    expect(await connection.execute('query-status')).toEqual({ running: true, status: 'running' });
    expect(monitor.received).toEqual([{ execute: 'query-status', id: 2 }]);
  });

  test('without a greeting the monitor is busy', async () => {
    await using monitor = await FakeMonitor.listen({ greets: false });
    await expect(QmpConnection.open(monitor.path, { greetingTimeoutMilliseconds: 20 })).rejects.toMatchObject({
      code: 'QmpBusy',
    });
  });

  test('a listener that hangs up before greeting is gone, not busy', async () => {
    await using monitor = await FakeMonitor.listen({ greets: false });
    const opening = QmpConnection.open(monitor.path);
    const retry = setInterval(() => monitor.hangUp(), 5);
    await expect(opening).rejects.toMatchObject({ code: 'QmpDisconnected' });
    clearInterval(retry);
  });

  test('nobody there: the reason is the system’s word', async () => {
    await expect(QmpConnection.open('/nowhere/qmp')).rejects.toMatchObject({
      code: 'QmpConnectFailed',
      errno: 'ENOENT',
    });
    await expect(QmpConnection.open(`/${'x'.repeat(107)}`)).rejects.toMatchObject({ errno: 'ENAMETOOLONG' });
    await expect(QmpConnection.open(import.meta.filename)).rejects.toMatchObject({ errno: 'ECONNREFUSED' });
  });

  test('the signal ends it, before and while it waits', async () => {
    await using monitor = await FakeMonitor.listen({ greets: false });
    await expect(QmpConnection.open(monitor.path, { signal: AbortSignal.abort('early') })).rejects.toBe('early');
    const { signal, abort } = abortable();
    const opening = QmpConnection.open(monitor.path, { signal });
    abort('enough');
    await expect(opening).rejects.toBe('enough');
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

describe('what comes in', () => {
  test('a reply cut in the middle of a character arrives whole', async () => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path);
    const name = connection.execute('query-name');
    await monitor.commands(1);
    const bytes = Buffer.from('{"return": {"name": "ščř 🚢"}, "id": 2}\r\n');
    for (const byte of bytes) {
      monitor.write(Buffer.from([byte]));
      await delay(0);
    }
    expect(await name).toEqual({ name: 'ščř 🚢' });
  });

  test.each([
    ['not JSON', 'HTTP/1.1 400 Bad Request\r\n'],
    ['not UTF-8', Buffer.from([0xff, 0xfe, 0x0a])],
    ['not QMP', '{"hello": "world"}\n'],
    ['a reply to what nobody asked', '{"return": {}, "id": 99}\n'],
    ['a line without an end', Buffer.alloc(3_000_000, '[')],
  ])('%s closes the connection with a clear error', async (_, bytes) => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path);
    const pending = connection.execute('query-status');
    monitor.write(bytes);
    await expect(pending).rejects.toMatchObject({ code: 'QmpProtocolViolation' });
    expect(await connection.closed).toMatchObject({ code: 'QmpProtocolViolation' });
    expect(connection.isOpen).toBe(false);
  });

  test('an answer of another form fails its command only', async () => {
    await using monitor = await FakeMonitor.listen();
    monitor.answer = ({ execute }) => ({ return: execute === 'query-migrate' ? { status: 7 } : {} });
    await using connection = await QmpConnection.open(monitor.path);
    await expect(connection.execute('query-migrate')).rejects.toMatchObject({ code: 'QmpProtocolViolation' });
    expect(await connection.execute('cont')).toEqual({});
  });
});

describe('the end', () => {
  test('a hang-up is told apart from a timeout', async () => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path, { commandTimeoutMilliseconds: 20 });
    await expect(connection.execute('query-status')).rejects.toMatchObject({ code: 'QmpTimeout', sent: true });
    expect(connection.isOpen).toBe(true);
    const pending = connection.execute('query-migrate', {}, { timeoutMilliseconds: 60_000 });
    const outOfBand = connection.executeOutOfBand('query-yank', {}, { timeoutMilliseconds: 60_000 });
    monitor.hangUp();
    await expect(pending).rejects.toMatchObject({ code: 'QmpDisconnected' });
    await expect(outOfBand).rejects.toMatchObject({ code: 'QmpDisconnected' });
    await expect(connection.execute('cont')).rejects.toMatchObject({ code: 'QmpDisconnected' });
  });

  test('a reply sent just before the hang-up is read', async () => {
    await using monitor = await FakeMonitor.listen();
    monitor.answer = () => {
      setImmediate(() => monitor.hangUp());
      return { return: {} };
    };
    await using connection = await QmpConnection.open(monitor.path);
    expect(await connection.execute('quit')).toEqual({});
    expect(await connection.closed).toMatchObject({ code: 'QmpDisconnected' });
  });

  test('closing on this side fails what is pending, and says that it was this side', async () => {
    await using monitor = await FakeMonitor.listen();
    const connection = await QmpConnection.open(monitor.path);
    const pending = connection.execute('query-status');
    const events = readAll(connection.events());
    await Promise.all([
      expect(pending).rejects.toMatchObject({ code: 'QmpClosed' }),
      connection[Symbol.asyncDispose](),
    ]);
    expect(await connection.closed).toMatchObject({ code: 'QmpClosed' });
    expect(await events).toEqual([]);
    expect(await readAll(connection.events())).toEqual([]);
  });
});

describe('events', () => {
  test('every reader sees every event from its call on, and handlers see it first', async () => {
    await using monitor = await FakeMonitor.listen();
    monitor.answer = () => ({ return: {} });
    await using connection = await QmpConnection.open(monitor.path);
    const handled: string[] = [];
    const stop = connection.onEvent(({ name }) => handled.push(name));
    const early = connection.events();
    monitor.send(event('STOP'));
    await connection.execute('cont');
    const late = connection.events();
    stop();
    monitor.send(event('MIGRATION', { status: 'active' }), event('RESUME'));
    monitor.hangUp();
    expect((await readAll(early)).map(({ name }) => name)).toEqual(['STOP', 'MIGRATION', 'RESUME']);
    expect((await readAll(late)).map(({ name }) => name)).toEqual(['MIGRATION', 'RESUME']);
    expect(handled).toEqual(['STOP']);
  });

  test('a handler that closes the connection sees nothing more', async () => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path);
    const seen: string[] = [];
    connection.onEvent(({ name }) => {
      seen.push(name);
      void connection[Symbol.asyncDispose]();
    });
    monitor.send(event('STOP'), event('RESUME'));
    expect(await connection.closed).toMatchObject({ code: 'QmpClosed' });
    expect(seen).toEqual(['STOP']);
  });

  test('a signal ends one reader, not the others', async () => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path);
    const { signal, abort } = abortable();
    const ended = readAll(connection.events(signal));
    const lasting = connection.events()[Symbol.asyncIterator]();
    abort('enough');
    expect(await ended).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    monitor.send(event('STOP'));
    expect((await lasting.next()).value?.name).toBe('STOP');
  });

  test('a flood that somebody does not read closes the connection', async () => {
    await using monitor = await FakeMonitor.listen();
    await using connection = await QmpConnection.open(monitor.path);
    connection.events();
    for (let count = 0; count < 1001; count++) monitor.send(event('STOP'));
    expect(await connection.closed).toMatchObject({ code: 'QmpProtocolViolation' });
  });
});

describe('features', () => {
  const answers: Record<string, unknown> = {
    'query-migrate-capabilities': [{ capability: 'events', state: false }],
    'query-migrate-parameters': { 'max-bandwidth': 0, 'zero-page-detection': 'multifd' },
    'query-qmp-schema': [
      { name: 'migrate-incoming', 'meta-type': 'command', 'arg-type': '7', 'ret-type': '0' },
      {
        name: '7',
        'meta-type': 'object',
        members: [
          { name: 'uri', type: 'str' },
          { name: 'exit-on-error', type: 'bool' },
        ],
      },
    ],
  };

  test('a target is asked for its schema, once per QEMU version; a source never', async () => {
    await using monitor = await FakeMonitor.listen();
    monitor.answer = ({ execute = '' }) => ({ return: answers[execute] });
    await using connection = await QmpConnection.open(monitor.path);
    const ofSource = await probe(connection, 'source');
    const ofTarget = await probe(connection, 'target');
    expect(await probe(connection, 'target')).toEqual(ofTarget);
    expect(ofSource).toEqual({
      capabilities: ['events'],
      parameters: ['max-bandwidth', 'zero-page-detection'],
      incomingExitOnError: false,
      multifdWithPostcopy: true,
      lateActivationAlways: true,
    });
    expect(ofTarget).toEqual({ ...ofSource, incomingExitOnError: true });
    expect(monitor.received.filter(({ execute }) => execute === 'query-qmp-schema')).toHaveLength(1);
  });
});

function abortable(): { signal: AbortSignal; abort: (reason: string) => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}
