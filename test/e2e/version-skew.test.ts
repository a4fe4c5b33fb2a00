/** Agents as they ship, and a controller that pretends to be of another release: they work together, or say why they do not. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type ProtocolRange, protocol } from '../../src/api/protocol.ts';
import { createContext, informersOf } from '../../src/controller/context.ts';
import { createMigrationController } from '../../src/controller/migration/reconciler.ts';
import { createVirtualMachineController } from '../../src/controller/virtual-machine/reconciler.ts';
import { KubeClient } from '../../src/kube/client.ts';
import type { KubeObject, Resource } from '../../src/kube/resource.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { defaultMigrationLimits } from '../../src/migration/capacity.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneLife } from './one-life.ts';
import { System } from './system.ts';

let system: System;
let recorder: HeartbeatRecorder;

beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 16 });
  await system.controller.kill('SIGTERM');
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Of before there were protocols: what it writes does not name any. */
class OldClient extends KubeClient {
  override replace<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options?: Parameters<KubeClient['replace']>[2],
  ): Promise<T> {
    return super.replace(resource, withoutProtocol(object), options);
  }
}

function withoutProtocol<T extends KubeObject>(object: T): T {
  const text = JSON.stringify(object, (key, value) => (key === 'plan' ? { ...value, protocol: undefined } : value));
  return JSON.parse(text) as T;
}

async function startController(speaks: ProtocolRange, Client: typeof KubeClient = KubeClient) {
  const resources = new AsyncDisposableStack();
  const client = new Client(resources.use(new KubeTransport(loadKubeConfig(system.cluster.adminKubeconfig))));
  const options = {
    accelerator: 'tcg',
    qemuImage: 'localnode.vmferry.io/qemu',
    namespace: 'vmferry-system',
    migrationLimits: defaultMigrationLimits,
  } as const;
  const logger = createLogger({ name: 'pretending' }).child({}, { level: 'error' });
  const context = { ...createContext(client, options, logger, resources, createRegistry()), protocol: speaks };
  const controllers = [createVirtualMachineController(context), createMigrationController(context)];
  for (const controller of controllers) resources.use(controller);
  for (const informer of informersOf(context)) informer.start();
  await Promise.all(informersOf(context).map((informer) => informer.synced()));
  for (const controller of controllers) controller.start();
  return resources;
}

let number = 0;
let name: string;
beforeEach(() => {
  name = `move-${number++}`;
});

async function outcome() {
  await system.migrate(name, 'web');
  const { status } = await system.finished(name);
  await assertOneLife(system, 'web', recorder);
  return status;
}

const { oldest, newest } = protocol;

test('a newer controller that still speaks what the agents speak moves the VM', async () => {
  await using _controller = await startController({ oldest, newest: newest + 1 });
  const status = await outcome();
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded', plan: { protocol: newest } });
});

test.each([
  [
    'a controller that does not speak any more what the agents speak',
    { oldest: newest + 1, newest: newest + 1 },
    'AgentTooOld',
  ],
  [
    'a controller that does not speak yet what the agents speak',
    { oldest: oldest - 1, newest: oldest - 1 },
    'AgentTooNew',
  ],
])('%s refuses, and the VM stays where it is', async (_, speaks, reason) => {
  await using _controller = await startController(speaks);
  const status = await outcome();
  expect(status).toMatchObject({
    phase: 'Failed',
    reason,
    message: expect.stringMatching(/Update the .* runs on node-/s),
  });
  expect(status?.plan).toBeUndefined();
});

test('a controller of before there were protocols is refused by the agent', async () => {
  await using _controller = await startController(protocol, OldClient);
  const status = await outcome();
  expect(status).toMatchObject({ phase: 'Failed', reason: 'ControllerTooOld' });
  expect(status?.source).toMatchObject({ verdict: 'Aborted' });
});
