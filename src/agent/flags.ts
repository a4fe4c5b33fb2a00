import { hostname } from 'node:os';
import { systemNamespace } from '../api/labels.ts';
import { portNumber, readFlags } from '../observability/flags.ts';

export interface Flags {
  readonly nodeName: string;
  readonly kubeconfig: string | undefined;
  readonly podsDirectory: string;
  readonly stateDirectory: string;
  readonly namespace: string;
  /** Where to listen for other agents; undefined: on every address. */
  readonly handoverAddress: string | undefined;
  readonly handoverPort: number;
  readonly healthPort: number;
}

export const usage = `Usage: vmferry-agent [flags]

  --node-name NAME          the node this agent works on (default the host's name)
  --kubeconfig FILE         the cluster; else KUBECONFIG, else the service account of this pod
  --pods-directory FOLDER   where the node keeps its pods' volumes (default /var/lib/kubelet/pods)
  --state-directory FOLDER  what outlives a restart of the agent; on a tmpfs (default /run/vmferry)
  --namespace NAME          namespace of the agents' leases (default ${systemNamespace})
  --handover-address ADDR   listen there for the agents that hand guests over (default every address of the host)
  --handover-port PORT      (default 9443; 0 lets the kernel choose)
  --health-port PORT        serve /healthz, /readyz and /metrics there; 0 is off (default 0)
`;

/**
 * The agent's command line; undefined when it only asks for help.
 * @throws Error whose message is one sentence for the person at the terminal.
 */
export function parseFlags(args: readonly string[]): Flags | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  for (const folder of ['pods-directory', 'state-directory'] as const) {
    if (!values[folder].startsWith('/')) throw new Error(`--${folder} must be an absolute path.`);
  }
  if (values['node-name'] === '') throw new Error('--node-name must not be empty.');
  return {
    nodeName: values['node-name'],
    kubeconfig: values.kubeconfig,
    podsDirectory: values['pods-directory'],
    stateDirectory: values['state-directory'],
    namespace: values.namespace,
    handoverAddress: values['handover-address'],
    handoverPort: portNumber('handover-port', values['handover-port']),
    healthPort: portNumber('health-port', values['health-port']),
  };
}

function parse(args: readonly string[]) {
  return readFlags({
    args: [...args],
    options: {
      'node-name': { type: 'string', default: hostname() },
      kubeconfig: { type: 'string' },
      'pods-directory': { type: 'string', default: '/var/lib/kubelet/pods' },
      'state-directory': { type: 'string', default: '/run/vmferry' },
      namespace: { type: 'string', default: systemNamespace },
      'handover-address': { type: 'string' },
      'handover-port': { type: 'string', default: '9443' },
      'health-port': { type: 'string', default: '0' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
}
