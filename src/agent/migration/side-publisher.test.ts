import { pino } from 'pino';
import { describe, expect, test } from 'vitest';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import type { JsonPatchOperation } from '../../kube/client.ts';
import { ApiError } from '../../kube/errors.ts';
import type { AgentContext } from '../context.ts';
import { SidePublisher } from './side-publisher.ts';

/** An API server of one object, that can be away, and an informer's cache that shows what was written. */
class Server {
  migration: VirtualMachineMigration = {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachineMigration',
    metadata: {
      name: 'move',
      namespace: 'default',
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: '',
    },
    spec: { virtualMachineName: 'web' },
    status: { attempt: 1, source: { attempt: 1, podUID: 'p', sequence: 0 } },
  };
  cached = this.migration;
  writes: object[] = [];
  isAway = false;
  arrived: (() => void) | undefined;
  /** Holds every write until it is resolved. */
  gate: Promise<void> | undefined;

  readonly context = {
    logger: pino({ level: 'silent' }),
    outgoing: { cache: { get: () => this.cached }, observe: (newest: VirtualMachineMigration) => this.#show(newest) },
    client: {
      jsonPatch: async (_resource: unknown, _reference: unknown, operations: JsonPatchOperation[]) => {
        this.arrived?.();
        await this.gate;
        if (this.isAway) throw new ApiError(0, 'ConnectionFailed', 'nobody there');
        return this.#patch(operations);
      },
      get: async () => this.migration,
    },
  } as unknown as AgentContext;

  #show(newest: VirtualMachineMigration): void {
    this.cached = newest;
  }

  #patch(operations: JsonPatchOperation[]): VirtualMachineMigration {
    const valueAt = (path: string) => operations.find((operation) => 'value' in operation && operation.path === path);
    const sequence = operations.find(
      ({ op, ...rest }) => op === 'test' && 'path' in rest && rest.path.endsWith('/sequence'),
    );
    const { status = {} } = this.migration;
    if (!sequence || !('value' in sequence) || sequence.value !== status.source?.sequence)
      throw new ApiError(422, 'Invalid', 'the test failed');
    const side = valueAt('/status/source');
    const source = side && 'value' in side ? (side.value as NonNullable<typeof status.source>) : status.source;
    this.writes.push(source ?? {});
    this.migration = { ...this.migration, status: { ...status, ...(source === undefined ? {} : { source }) } };
    return this.migration;
  }
}

function publisherAt(server: Server): SidePublisher<'source'> {
  return new SidePublisher(server.context, 'source', server.migration);
}

const written = async (server: Server, count: number) => {
  await expect.poll(() => server.writes.length).toBe(count);
  return server.migration.status?.source;
};

describe('what an agent says of its side', () => {
  test('is written, with the next sequence number', async () => {
    const server = new Server();
    await using publisher = publisherAt(server);
    publisher.say({ reason: 'Checking' });
    expect(await written(server, 1)).toMatchObject({ reason: 'Checking', sequence: 1 });
  });

  test('while a write is under way goes into one more', async () => {
    const server = new Server();
    await using publisher = publisherAt(server);
    const gate = Promise.withResolvers<void>();
    server.gate = gate.promise;
    publisher.say({ reason: 'First' });
    publisher.say({ reason: 'Second' });
    publisher.say({ message: 'Third' });
    gate.resolve();
    expect(await written(server, 2)).toMatchObject({ reason: 'Second', message: 'Third', sequence: 2 });
  });

  test('counts as said at once, and is repeated until there is an API server', async () => {
    const server = new Server();
    await using publisher = publisherAt(server);
    const arrived = Promise.withResolvers<void>();
    server.arrived = arrived.resolve;
    server.isAway = true;
    publisher.say({ verdict: 'Completed' });
    expect(publisher.said('verdict')).toBe('Completed');
    await arrived.promise;
    server.isAway = false;
    expect(await written(server, 1)).toMatchObject({ verdict: 'Completed' });
  });

  test('is thought over when the object was written meanwhile', async () => {
    const server = new Server();
    await using publisher = publisherAt(server);
    const { status = {} } = server.migration;
    const newer = { attempt: 1, podUID: 'p', sequence: 7, message: 'from before a restart' };
    server.migration = { ...server.migration, status: { ...status, source: newer } };
    publisher.say({ verdict: 'Aborted' });
    expect(await written(server, 1)).toEqual({ ...newer, verdict: 'Aborted', sequence: 8 });
  });

  test('of an attempt that is over is not written into the next', async () => {
    const server = new Server();
    await using publisher = publisherAt(server);
    server.cached = { ...server.migration, status: { ...server.migration.status, attempt: 2 } };
    publisher.say({ verdict: 'Aborted' });
    await expect.poll(() => publisher.isIdle).toBe(true);
    expect(server.writes).toEqual([]);
  });

  test('and was taken back is said no more', () => {
    const publisher = publisherAt(new Server());
    publisher.say({ message: 'waits' });
    publisher.say({ message: undefined } as unknown as { message: string });
    expect(publisher.said('message', 'waits')).toBeUndefined();
  });
});
