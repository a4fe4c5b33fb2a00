/** What RBAC allows to a service account of the product, one thing at a time, and what of it was made use of. */
import type { AuditEntry } from '../../cluster/audit-log.ts';
import type { Cluster } from '../../cluster/cluster.ts';

interface Rule {
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  verbs: string[];
}

interface Role {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules: Rule[];
}

interface RoleBinding {
  metadata: { namespace?: string };
  roleRef: { kind: string; name: string };
  subjects?: { kind: string; name: string; namespace?: string }[];
}

/** One verb on one resource. */
export interface Grant {
  readonly verb: string;
  readonly group: string;
  /** With its subresource: `pods/status`. */
  readonly resource: string;
  /** Only there; everywhere when absent. */
  readonly namespace?: string;
  /** Only objects of these names. */
  readonly names?: readonly string[];
}

const systemNamespace = 'vmferry-system';

export const userName = (account: string) => `system:serviceaccount:${systemNamespace}:${account}`;

/** Of all roles that are bound to the account by its name, as the API server has them. */
export async function grantsOf({ kubectl }: Pick<Cluster, 'kubectl'>, account: string): Promise<Grant[]> {
  const get = async <T>(kinds: string) => JSON.parse(await kubectl('get', kinds, '-A', '-o', 'json')).items as T[];
  const roles = await get<Role>('clusterroles,roles');
  const bindings = await get<RoleBinding>('clusterrolebindings,rolebindings');
  return bindings
    .filter(({ subjects = [] }) =>
      subjects.some(({ kind, name, namespace }) =>
        [kind, name, namespace].every((value, i) => value === ['ServiceAccount', account, systemNamespace][i]),
      ),
    )
    .flatMap(({ metadata: { namespace }, roleRef }) =>
      roles
        .filter(({ kind, metadata }) => kind === roleRef.kind && metadata.name === roleRef.name)
        .filter(({ kind, metadata }) => kind === 'ClusterRole' || metadata.namespace === namespace)
        .flatMap(({ rules }) => rules.flatMap((rule) => spelledOut(rule, namespace))),
    );
}

function spelledOut(
  { apiGroups = [], resources = [], resourceNames: names, verbs }: Rule,
  namespace?: string,
): Grant[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      verbs.map((verb) => ({ verb, group, resource, ...(namespace && { namespace }), ...(names && { names }) })),
    ),
  );
}

/** Whether this request needed this grant. A request for a whole collection has no name. */
export function isUseOf({ objectRef = {}, verb }: AuditEntry, grant: Grant): boolean {
  const { apiGroup = '', resource, subresource, namespace, name } = objectRef;
  return (
    verb === grant.verb &&
    apiGroup === grant.group &&
    `${resource}${subresource === undefined ? '' : `/${subresource}`}` === grant.resource &&
    (grant.namespace === undefined || namespace === grant.namespace) &&
    (grant.names === undefined || grant.names.includes(name ?? ''))
  );
}

/** `get leases.coordination.k8s.io in vmferry-system named vmferry-controller` */
export function inWords({ verb, group, resource, namespace, names }: Grant): string {
  const [plural, subresource] = resource.split('/');
  const kind = `${plural}${group && `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
  return [verb, kind, ...(namespace ? ['in', namespace] : []), ...(names ? ['named', names.join(', ')] : [])].join(' ');
}
