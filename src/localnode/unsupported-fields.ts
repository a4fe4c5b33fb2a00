/** What a pod may ask of localnode. Anything else is named, because a VM that silently lacks it would be worse than none. */
import { labels } from '../api/labels.ts';
import type { Container, Pod, Volume } from '../kube/core-resources.ts';
import { isWithin, podAddressField } from './launch-plan.ts';
import { sleepOf } from './termination.ts';

/** Carried out, of no meaning for a plain process, or somebody else's to carry out. */
const podFields = [
  ...['containers', 'volumes', 'restartPolicy', 'terminationGracePeriodSeconds', 'readinessGates', 'nodeName'],
  ...['nodeSelector', 'affinity', 'tolerations', 'schedulerName', 'schedulingGates', 'topologySpreadConstraints'],
  ...['priority', 'priorityClassName', 'preemptionPolicy', 'serviceAccountName', 'serviceAccount', 'imagePullSecrets'],
  ...['automountServiceAccountToken', 'enableServiceLinks', 'dnsPolicy', 'securityContext'],
];
const containerFields = [
  ...['name', 'image', 'imagePullPolicy', 'command', 'args', 'workingDir', 'env', 'resources', 'volumeMounts'],
  ...['lifecycle', 'securityContext', 'terminationMessagePath', 'terminationMessagePolicy'],
];
const volumeFields = ['name', 'emptyDir', 'hostPath'];
const mountFields = ['name', 'mountPath', 'readOnly', 'recursiveReadOnly'];
const hostPathTypes = ['', 'File'];

/** The fields that localnode does not understand, each by its path; empty for a pod that it can run. */
export function unsupportedFields(pod: Pod): string[] {
  if (pod.metadata.labels?.[labels.virtualMachine] === undefined) return [`no label ${labels.virtualMachine}`];
  const { containers, volumes = [], restartPolicy } = pod.spec;
  const [container] = containers;
  return [
    ...unknown('spec', pod.spec, podFields),
    ...(restartPolicy === 'Never' ? [] : ['spec.restartPolicy other than Never']),
    ...(containers.length === 1 ? [] : ['spec.containers: more than one']),
    ...(container === undefined ? [] : unsupportedInContainer(container, 'spec.containers[0]')),
    ...volumes.flatMap((volume, index) => unsupportedInVolume(volume, `spec.volumes[${index}]`)),
  ];
}

function unsupportedInContainer(container: Container, at: string): string[] {
  const { command = [], workingDir = '', env = [], volumeMounts = [], lifecycle = {} } = container;
  const inVolume = volumeMounts.some(({ mountPath }) => isWithin(workingDir, mountPath));
  return [
    ...unknown(at, container, containerFields),
    ...(command.length > 0 ? [] : [`${at}.command: missing, and there is no image to take it from`]),
    ...(inVolume ? [] : [`${at}.workingDir outside of all volumes`]),
    ...env.flatMap(({ valueFrom }, index) =>
      valueFrom === undefined || valueFrom.fieldRef?.fieldPath === podAddressField
        ? []
        : [`${at}.env[${index}].valueFrom`],
    ),
    ...volumeMounts.flatMap((mount, index) => unknown(`${at}.volumeMounts[${index}]`, mount, mountFields)),
    ...unknown(`${at}.lifecycle`, lifecycle, ['preStop']),
    ...unknown(`${at}.lifecycle.preStop`, lifecycle.preStop ?? {}, ['exec']),
    ...(lifecycle.preStop?.exec === undefined || sleepOf(lifecycle.preStop.exec) !== undefined
      ? []
      : [`${at}.lifecycle.preStop.exec other than a sleep`]),
  ];
}

function unsupportedInVolume(volume: Volume, at: string): string[] {
  const type = volume.hostPath?.type ?? '';
  return [
    ...unknown(at, volume, volumeFields),
    ...(hostPathTypes.includes(type) ? [] : [`${at}.hostPath.type ${type}`]),
  ];
}

function unknown(at: string, object: object, fields: readonly string[]): string[] {
  return Object.keys(object)
    .filter((field) => !fields.includes(field))
    .map((field) => `${at}.${field}`);
}
