import { expect, it } from 'vitest';
import type { Event } from './core-resources.ts';
import { ApiError } from './errors.ts';
import { cutToBytes, EventRecorder } from './events.ts';

const regarding = {
  apiVersion: 'vmferry.io/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { namespace: 'default', name: 'web', uid: 'u-1' },
};
const source = { reportingController: 'vmferry.io/test', reportingInstance: 'host-a' };

/** Keeps what is written; `refuse` makes the next writes fail. */
function eventServer() {
  const created: Event[] = [];
  const patched: object[] = [];
  const refusals: Error[] = [];
  const answer = async () => {
    const refusal = refusals.shift();
    if (refusal) throw refusal;
  };
  const client = {
    create: async (_: unknown, event: Event) => {
      await answer();
      created.push(event);
    },
    mergePatch: async (_resource: unknown, _ref: unknown, patch: object) => {
      await answer();
      patched.push(patch);
    },
  };
  return { created, patched, refusals, recorder: new EventRecorder(client as never, source) };
}

it('writes an event about an object', async () => {
  const { recorder, created } = eventServer();
  await using _ = recorder;
  recorder.event(regarding, 'Normal', 'Started', 'The guest runs on node-a.', { action: 'Start' });
  await recorder.flush();
  expect(created).toEqual([
    {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace: 'default', name: expect.stringMatching(/^web\.[0-9a-f]{16}$/) },
      eventTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
      type: 'Normal',
      reason: 'Started',
      action: 'Start',
      note: 'The guest runs on node-a.',
      regarding: { ...regarding.metadata, apiVersion: regarding.apiVersion, kind: regarding.kind },
      ...source,
    },
  ]);
});

it('counts repetitions in one event', async () => {
  const { recorder, created, patched } = eventServer();
  await using _ = recorder;
  const repeat = () => recorder.event(regarding, 'Warning', 'Waiting', 'No node fits.');
  repeat();
  await recorder.flush();
  for (let count = 0; count < 4; count++) repeat();
  await recorder.flush();
  recorder.event(regarding, 'Warning', 'Waiting', 'Another reason.');
  await recorder.flush();
  expect(created.map(({ note }) => note)).toEqual(['No node fits.', 'Another reason.']);
  expect(patched).toEqual([{ series: { count: 5, lastObservedTime: expect.any(String) } }]);
});

it('tries again when the API server gives no answer, and drops what it refuses', async () => {
  const { recorder, created, refusals } = eventServer();
  await using _ = recorder;
  refusals.push(new ApiError(0, 'ConnectionFailed', 'cut off'));
  recorder.event(regarding, 'Normal', 'First', '');
  await recorder.flush();
  refusals.push(new ApiError(403, 'Forbidden', 'the namespace is being deleted'));
  recorder.event(regarding, 'Normal', 'Second', '');
  recorder.event(regarding, 'Normal', 'Third', '');
  await recorder.flush();
  expect(created.map(({ reason }) => reason)).toEqual(['First', 'Third']);
});

it('writes an event anew when the server has forgotten it', async () => {
  const { recorder, created, refusals } = eventServer();
  await using _ = recorder;
  const repeat = () => recorder.event(regarding, 'Normal', 'Waiting', '');
  repeat();
  await recorder.flush();
  refusals.push(new ApiError(404, 'NotFound', 'an hour has passed'));
  repeat();
  await recorder.flush();
  expect(created.map(({ series }) => series?.count)).toEqual([undefined, 2]);
});

it('writes what is left when it is disposed of, and then records nothing more', async () => {
  const { recorder, created } = eventServer();
  recorder.event(regarding, 'Normal', 'Last', '');
  await recorder[Symbol.asyncDispose]();
  recorder.event(regarding, 'Normal', 'TooLate', '');
  await recorder.flush();
  expect(created.map(({ reason }) => reason)).toEqual(['Last']);
});

it('cuts a note at a character’s boundary', () => {
  expect(cutToBytes('short', 1024)).toBe('short');
  const cut = cutToBytes('ü'.repeat(1000), 1024);
  expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(1024);
  expect(cut).toMatch(/^ü{510}…$/);
});
