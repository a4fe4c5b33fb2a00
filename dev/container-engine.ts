import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { MissingPrerequisite } from './prerequisites.ts';

const run = promisify(execFile);
const candidates = ['docker', 'podman', 'nerdctl'] as const;

/** Builds images and runs kind's nodes. */
export class ContainerEngine {
  readonly name: (typeof candidates)[number];

  private constructor(name: ContainerEngine['name']) {
    this.name = name;
  }

  /** @throws MissingPrerequisite when none answers */
  static async find(): Promise<ContainerEngine> {
    for (const name of candidates) {
      const answers = await run(name, ['info']).then(
        () => true,
        () => false,
      );
      if (answers) return new ContainerEngine(name);
    }
    throw new MissingPrerequisite(`This needs a container engine that answers: ${candidates.join(', ')}.`);
  }

  /** @returns what it printed; throws with what it complained about. */
  async run(...args: string[]): Promise<string> {
    return (await run(this.name, args, { maxBuffer: 64 * 1024 * 1024 })).stdout;
  }
}
