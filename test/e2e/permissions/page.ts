/** `docs/permissions.md`, from what the API server says. */
import type { Cluster } from '../../cluster/cluster.ts';
import { userName } from './grants.ts';

const introduction = `# What the controller and the agents may do

Both run under a service account of their own, with the roles of [deploy/manifests/access](../deploy/manifests/access) and no other right. A test
plays a life of VMs and migrations, with success, cancel, retry and the loss of a node, and compares these roles with the API server's audit log: nothing
is refused, and no right is left unused. Neither account can read a Secret, open a shell in a pod, or give out a token.

One account serves the agents of all nodes. What each of them may write follows from its node, which the API server finds in its token
([why](adr/0014-an-agent-is-held-to-its-node.md)):

| object | what the agent of a node may write | else |
|---|---|---|
| VirtualMachineMigration | \`status.source\` and \`status.transfer\` if \`status.sourceNode\` is its node; \`status.target\` if \`status.targetNode\` is; attempt and pod stay as the controller has set them | refused by the policy \`vmferry-agent-migrations\` |
| VirtualMachine | \`status.guest\`, of the pod that owns the VM, if \`status.placement.nodeName\` is its node | refused by \`vmferry-agent-virtualmachines\` |
| Lease in the system's namespace | \`agent.NODE\` | refused by \`vmferry-agent-leases\` |

An agent is who may \`patch\` the status of migrations and not \`update\` it, whatever its account is called. A token of one that names no node may write nothing. Kubernetes ≥ 1.31 is needed: it names the node in tokens that are bound to a pod or to a Node.

Below is what \`kubectl\` says of the two; rights on leases are for the namespace \`vmferry-system\` alone, all others for all namespaces. What every
account may, such as asking for the version, is left out.
This page is written by \`npx vitest run test/e2e/permissions --update\`, and the same test fails when it is out of date.
`;

const sections = [
  {
    account: 'vmferry-controller',
    title: 'The controller',
    notes: `\`pods/status\` is for the readiness gate \`vmferry.io/guest-running\`, and \`virtualmachines/finalizers\` for owner references that hold up the
deletion of a VM (asked for where the admission plugin OwnerReferencesPermissionEnforcement is on).`,
  },
  {
    account: 'vmferry-agent',
    title: 'An agent',
    notes: 'It reads in all namespaces: VMs are where their users are. No secret stands in what it can read.',
  },
];

/** What every account may, such as asking for the version, is left out. */
export async function permissionsPage({ kubectl }: Pick<Cluster, 'kubectl'>): Promise<string> {
  const list = async (account: string) => {
    const command = ['auth', 'can-i', '--list', '--namespace=vmferry-system', `--as=${userName(account)}`];
    const rows = (await kubectl(...command)).trimEnd().split('\n');
    return { command: `kubectl ${command.join(' ')}`, rows };
  };
  const words = (row: string) => row.split(/\s+/).join(' ');
  const common = new Set((await list('default')).rows.slice(1).map(words));
  const parts = [introduction];
  for (const { account, title, notes } of sections) {
    const { command, rows } = await list(account);
    const own = rows.filter((row) => !common.has(words(row))).map((row) => `    ${row.trimEnd()}`);
    parts.push(`## ${title}\n`, `${notes}\n`, `    $ ${command}`, ...own, '');
  }
  return parts.join('\n');
}
