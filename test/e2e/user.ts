/** What a user of a cluster does and sees, all of it by kubectl. */
import type { VirtualMachine, VirtualMachineMigration } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import type { Pod } from '../../src/kube/core-resources.ts';
import { until } from '../cluster/waiting.ts';

export const apiVersion = 'vmferry.io/v1alpha1';

/** How a user reaches a cluster; everything happens in one namespace. */
export interface Access {
  /** @returns what it printed; throws with what it complained about. */
  kubectl(...args: string[]): Promise<string>;
  /** `kubectl apply` of these objects. */
  apply(...objects: object[]): Promise<string>;
}

export class User {
  readonly #access: Access;
  /** How long anything is waited for, in milliseconds. */
  readonly #patience: number;

  constructor(access: Access, patience = 60_000) {
    this.#access = access;
    this.#patience = patience;
  }

  /** Changes the spec of a VM as `kubectl patch` does. */
  async change(virtualMachineName: string, spec: object): Promise<void> {
    await this.#patch('vm', virtualMachineName, spec);
  }

  /** Waits until a VM is in this phase, in this generation of its placement if one is given. */
  async reached(virtualMachineName: string, phase: string, generation?: number): Promise<VirtualMachine> {
    const what = `vm/${virtualMachineName} is ${phase}${generation === undefined ? '' : ` in generation ${generation}`}`;
    return await this.until(what, async () => {
      const vm = await this.virtualMachine(virtualMachineName);
      const { phase: now, placement } = vm.status ?? {};
      return now === phase && (generation ?? placement?.generation) === placement?.generation ? vm : undefined;
    });
  }

  async migrate(name: string, virtualMachineName: string, spec: object = {}): Promise<void> {
    await this.#access.apply({
      apiVersion,
      kind: 'VirtualMachineMigration',
      metadata: { name },
      spec: { virtualMachineName, ...spec },
    });
  }

  async virtualMachine(name: string): Promise<VirtualMachine> {
    return await this.#get('vm', name);
  }

  async migration(name: string): Promise<VirtualMachineMigration> {
    return await this.#get('vmm', name);
  }

  async pods(): Promise<Pod[]> {
    return (await this.#get<{ items: Pod[] }>('pods')).items;
  }

  /** Waits until all that is left is the owner's. @param left UIDs of the pods of which there is something */
  async onlyTheOwnerIsLeft(
    owner: string | undefined,
    left: () => Promise<readonly (string | undefined)[]>,
  ): Promise<void> {
    await this.until('only the owner is left', async () =>
      (await left()).every((uid) => uid === owner) ? true : undefined,
    );
  }

  /** Waits until a migration's source has sent something. */
  async bytesFlow(name: string): Promise<void> {
    await this.until(`bytes of vmm/${name} flow`, async () => {
      const { status } = await this.migration(name);
      return (status?.transfer?.transferredBytes ?? 0) > 0 ? true : undefined;
    });
  }

  /** Lets a migration that was kept slow go on as fast as it can. */
  async speedUp(name: string): Promise<void> {
    await this.#patch('vmm', name, { transfer: { maxBandwidth: '4Gi' } });
  }

  async cancel(name: string): Promise<void> {
    await this.#patch('vmm', name, { cancel: true });
  }

  /** Waits for a migration's end, and for the VM to be free again. */
  async finished(name: string): Promise<VirtualMachineMigration> {
    return await this.until(`vmm/${name} has ended and let go of its VM`, async () => {
      const migration = await this.migration(name);
      if (!isTerminal(migration.status?.phase)) return undefined;
      const vm = await this.virtualMachine(migration.spec.virtualMachineName).catch(() => undefined);
      // Read again: it says more by now than before it let go.
      return vm?.status?.migration?.uid === migration.metadata.uid ? undefined : await this.migration(name);
    });
  }

  async until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
    return await until(what, this.#patience, ask);
  }

  async #get<T>(...what: string[]): Promise<T> {
    return JSON.parse(await this.#access.kubectl('get', ...what, '-o', 'json'));
  }

  async #patch(kind: 'vm' | 'vmm', name: string, spec: object): Promise<void> {
    await this.#access.kubectl('patch', kind, name, '--type=merge', '-p', JSON.stringify({ spec }));
  }
}
