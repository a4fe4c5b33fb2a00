const form = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

class InvalidPodUID extends Error {
  readonly code = 'InvalidPodUID';
}

/**
 * The UID itself, when it has the form of one: it becomes a folder's name, and comes from objects that others may write.
 * @throws InvalidPodUID
 */
export function checkedPodUID(podUID: string): string {
  if (!form.test(podUID)) throw new InvalidPodUID(`not a pod UID: ${JSON.stringify(podUID)}`);
  return podUID;
}
