import path from 'node:path';
import { parseArgs } from 'node:util';

export interface Flags {
  readonly nodeName: string;
  readonly kubeconfig: string;
  readonly root: string;
  readonly address: string;
}

export const usage = `Usage: localnode --node-name NAME --kubeconfig FILE --root FOLDER --address IP

Runs the pods of virtual machines as plain processes of this host.

  --node-name NAME    the Node to register
  --kubeconfig FILE   the cluster, as the user system:node:NAME
  --root FOLDER       pods live below it; QEMUs that run there are taken over
  --address IP        what the node and its pods are reached by
`;

/**
 * localnode's command line; undefined when it only asks for help.
 * @throws Error whose message is one sentence for the person at the terminal.
 */
export function parseFlags(args: readonly string[]): Flags | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { 'node-name': text, kubeconfig: text, root: text, address: text, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return undefined;
  const need = (flag: 'node-name' | 'kubeconfig' | 'root' | 'address') => {
    const value = values[flag];
    if (value === undefined || value === '') throw new Error(`--${flag} is missing; --help tells all`);
    return value;
  };
  return {
    nodeName: need('node-name'),
    kubeconfig: need('kubeconfig'),
    root: path.resolve(need('root')),
    address: need('address'),
  };
}
