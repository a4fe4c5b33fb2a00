import { expect, test } from 'vitest';
import { begin, listen } from '../credentials/encrypted-migration.test-support.ts';
import { listening, Node, podUID } from '../started-qemu.test-support.ts';
import { readQemu } from './read-qemu.ts';

const targetUID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const patience = 5_000;

test.for([['running'], ['standing still', '-S']])(
  'what is believed at the switchover of a guest that is %s is what QEMU answers',
  async ([, ...extra]) => {
    await using node = new Node();
    await using registry = await node.registry();
    node.start({ extra });
    node.start({ uid: targetUID, extra: ['-S', '-incoming', 'defer'] });
    const [source, target] = [registry.get(podUID), registry.get(targetUID)];
    await Promise.all([source, target].map(listening));
    const atSwitchover = Promise.withResolvers<void>();
    source.onEvent((event) => {
      if (event.name === 'MIGRATION' && event.data.status === 'pre-switchover') atSwitchover.resolve();
    });
    await begin(source, await listen(target));
    await atSwitchover.promise;
    const believed = await readQemu(source, patience, true);
    const asked = await readQemu(source, patience);
    expect(believed).toEqual({
      presence: 'present',
      status: { status: 'finish-migrate', running: false },
      migration: { status: 'pre-switchover' },
    });
    expect(asked).toMatchObject(believed);
    await expect.poll(() => source.justToldMigration, { timeout: patience }).toBeUndefined();
  },
);
