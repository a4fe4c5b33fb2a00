/** What the API server asks a webhook for `pods/eviction`, and is answered: `admission.k8s.io/v1`, as far as it is used here. */

export interface EvictionRequest {
  /** Of the question; the answer carries it. */
  readonly uid: string;
  readonly namespace: string;
  /** Of the pod. */
  readonly name: string;
  readonly dryRun: boolean;
}

interface AdmissionReview {
  request?: {
    uid?: unknown;
    namespace?: unknown;
    name?: unknown;
    dryRun?: unknown;
    resource?: { resource?: unknown };
    subResource?: unknown;
    object?: { deleteOptions?: { dryRun?: unknown } } | null;
  } | null;
}

/** @returns undefined for what is no question about an eviction */
export function readEvictionRequest(body: unknown): EvictionRequest | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { request } = body as AdmissionReview;
  const { uid, namespace, name, dryRun, resource, subResource, object } = request ?? {};
  if (resource?.resource !== 'pods' || subResource !== 'eviction') return undefined;
  if (typeof uid !== 'string' || typeof namespace !== 'string' || typeof name !== 'string') return undefined;
  // `kubectl drain --dry-run=server` asks for it in the eviction's own options, of which the request says nothing.
  const inOptions = object?.deleteOptions?.dryRun;
  const isDry = dryRun === true || (Array.isArray(inOptions) && inOptions.length > 0);
  return { uid, namespace, name, dryRun: isDry };
}

/** @param refusal why the eviction is refused for now; undefined when it is none of ours to refuse */
export function admissionResponse(uid: string, refusal: string | undefined): object {
  // Whoever drains takes this code, which is also that of a disruption budget, as: try again.
  const status = { status: 'Failure', code: 429, reason: 'TooManyRequests', message: refusal };
  const response = refusal === undefined ? { uid, allowed: true } : { uid, allowed: false, status };
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response };
}
