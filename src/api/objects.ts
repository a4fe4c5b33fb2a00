/** The custom resources as the API server delivers them. */

import type { VirtualMachineSpec, VirtualMachineStatus } from './virtual-machine.gen.ts';
import type { VirtualMachineMigrationSpec, VirtualMachineMigrationStatus } from './virtual-machine-migration.gen.ts';

interface Metadata {
  name: string;
  namespace: string;
  uid: string;
  resourceVersion: string;
  generation: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
}

export interface VirtualMachine {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  spec: VirtualMachineSpec;
  status?: VirtualMachineStatus;
}

export interface VirtualMachineMigration {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
  spec: VirtualMachineMigrationSpec;
  status?: VirtualMachineMigrationStatus;
}

interface Descriptor<T> {
  readonly group: 'vmferry.io';
  readonly version: 'v1alpha1';
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: true;
  /** Carries the object's type at compile time only. */
  readonly __type?: T;
}

export const virtualMachines: Descriptor<VirtualMachine> = {
  group: 'vmferry.io',
  version: 'v1alpha1',
  plural: 'virtualmachines',
  kind: 'VirtualMachine',
  namespaced: true,
};

export const virtualMachineMigrations: Descriptor<VirtualMachineMigration> = {
  group: 'vmferry.io',
  version: 'v1alpha1',
  plural: 'virtualmachinemigrations',
  kind: 'VirtualMachineMigration',
  namespaced: true,
};
