import { systemNamespace, webhookService } from '../api/labels.ts';
import { defaultMigrationLimits, type MigrationLimits } from '../migration/capacity.ts';
import { portNumber, readFlags } from '../observability/flags.ts';

export interface Flags {
  readonly kubeconfig: string | undefined;
  readonly accelerator: 'kvm' | 'tcg';
  readonly qemuImage: string;
  readonly kvmResource: string | undefined;
  readonly namespace: string;
  readonly leaderElect: boolean;
  readonly healthPort: number;
  /** 0: no webhook, so that evictions are refused and bring about nothing. */
  readonly webhookPort: number;
  readonly webhookAddress: string;
  readonly migrationLimits: MigrationLimits;
}

export const usage = `Usage: vmferry-controller --qemu-image IMAGE [flags]

  --kubeconfig FILE         the cluster; else KUBECONFIG, else the service account of this pod
  --qemu-image IMAGE        container image of the VM pods
  --accelerator kvm|tcg     how QEMU executes guests, the same on every node (default kvm)
  --kvm-resource NAME       what VM pods ask for to get /dev/kvm, such as devices.kubevirt.io/kvm; only with kvm
  --namespace NAME          namespace of the leader's and the agents' leases (default ${systemNamespace})
  --[no-]leader-elect       work only while holding the lease (default on)
  --health-port PORT        serve /healthz, /readyz and /metrics there; 0 is off (default 0)
  --webhook-port PORT       answer the API server's questions about evictions there; 0 is off (default 0)
  --webhook-address NAME    DNS name or IP address by which it asks (default ${webhookService}.NAMESPACE.svc)
  --max-migrations N        under way at once in the cluster; further ones wait (default ${defaultMigrationLimits.perCluster})
  --max-outbound-migrations N   away from one node (default ${defaultMigrationLimits.outboundPerNode})
  --max-inbound-migrations N    to one node (default ${defaultMigrationLimits.inboundPerNode})
`;

/**
 * The controller's command line; undefined when it only asks for help.
 * @throws Error whose message is one sentence for the person at the terminal.
 */
export function parseFlags(args: readonly string[]): Flags | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const { accelerator, namespace } = values;
  if (accelerator !== 'kvm' && accelerator !== 'tcg') {
    throw new Error(`--accelerator must be kvm or tcg, not "${accelerator}".`);
  }
  const qemuImage = values['qemu-image'];
  if (!qemuImage) throw new Error('--qemu-image is required: the container image of the VM pods.');
  const { kubeconfig, 'kvm-resource': kvmResource } = values;
  if (kvmResource !== undefined && !/^[a-z0-9.-]+\/[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(kvmResource)) {
    throw new Error(`--kvm-resource must be the name of a device plugin's resource, not "${kvmResource}".`);
  }
  return {
    kubeconfig,
    accelerator,
    qemuImage,
    kvmResource,
    namespace,
    leaderElect: values['leader-elect'],
    healthPort: portNumber('health-port', values['health-port']),
    webhookPort: portNumber('webhook-port', values['webhook-port']),
    webhookAddress: values['webhook-address'] ?? `${webhookService}.${namespace}.svc`,
    migrationLimits: {
      perCluster: limit('max-migrations', values),
      outboundPerNode: limit('max-outbound-migrations', values),
      inboundPerNode: limit('max-inbound-migrations', values),
    },
  };
}

function limit<Name extends string>(flag: Name, values: Readonly<Record<Name, string>>): number {
  if (!/^[1-9]\d{0,3}$/.test(values[flag])) {
    throw new Error(`--${flag} must be a whole number from 1 to 9999, not "${values[flag]}".`);
  }
  return Number(values[flag]);
}

function parse(args: readonly string[]) {
  return readFlags({
    args: [...args],
    allowNegative: true,
    options: {
      kubeconfig: { type: 'string' },
      'qemu-image': { type: 'string' },
      'kvm-resource': { type: 'string' },
      accelerator: { type: 'string', default: 'kvm' },
      namespace: { type: 'string', default: systemNamespace },
      'leader-elect': { type: 'boolean', default: true },
      'health-port': { type: 'string', default: '0' },
      'webhook-port': { type: 'string', default: '0' },
      'webhook-address': { type: 'string' },
      'max-migrations': { type: 'string', default: String(defaultMigrationLimits.perCluster) },
      'max-outbound-migrations': { type: 'string', default: String(defaultMigrationLimits.outboundPerNode) },
      'max-inbound-migrations': { type: 'string', default: String(defaultMigrationLimits.inboundPerNode) },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
}
