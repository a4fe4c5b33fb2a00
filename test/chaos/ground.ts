/** A cluster of three nodes that is broken again and again, and the VM on it. */
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../src/api/objects.ts';
import { Informer } from '../../src/kube/informer.ts';
import { System } from '../e2e/system.ts';
import { Cables } from './cables.ts';
import { Keeper } from './keeper.ts';
import { Subject } from './subject.ts';

const patience = 60_000;

export class Ground implements AsyncDisposable {
  readonly system: System;
  readonly keeper: Keeper;
  /** None where no cable can be cut. */
  readonly cables: Cables | undefined;
  /** Is told of every change of every migration; `undefined`: it is gone. */
  onMigration: (name: string, migration: VirtualMachineMigration | undefined) => void = () => {};
  readonly #migrations: Informer<VirtualMachineMigration>;
  #subject: Subject | undefined;
  #subjects = 0;

  private constructor(system: System, cables: Cables | undefined) {
    this.system = system;
    this.keeper = new Keeper(system.cluster);
    this.cables = cables;
    this.#migrations = new Informer<VirtualMachineMigration>(system.client, virtualMachineMigrations);
    this.#migrations.onChange((key, migration) => this.onMigration(key.split('/')[1] ?? key, migration));
  }

  static async start(isCuttable: boolean, log: (line: string) => void): Promise<Ground> {
    const system = await System.start({
      nodes: ['node-a', 'node-b', 'node-c'],
      ...(isCuttable && { network: 'namespaces' }),
      log,
    });
    const ground = new Ground(system, isCuttable ? new Cables(system.cluster) : undefined);
    ground.#migrations.start();
    await ground.cables?.ready();
    await ground.#migrations.synced(AbortSignal.timeout(patience));
    return ground;
  }

  /** The VM of the run before, or a new one. */
  async subject(): Promise<Subject> {
    this.#subject ??= await Subject.start(this.system, `web-${++this.#subjects}`);
    return this.#subject;
  }

  /** After a run that went wrong the next one begins with another VM. @throws when this one does not go away */
  async replaceSubject(): Promise<void> {
    const subject = this.#subject;
    this.#subject = undefined;
    if (subject === undefined) return;
    await using _ended = subject;
    await subject.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.keeper[Symbol.dispose]();
    this.cables?.[Symbol.dispose]();
    await this.#subject?.[Symbol.asyncDispose]();
    await this.#migrations[Symbol.asyncDispose]();
    await this.system[Symbol.asyncDispose]();
  }
}
