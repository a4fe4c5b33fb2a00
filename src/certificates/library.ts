/**
 * What is used of the library for certificates. To be imported on demand only: it costs ten to twenty MiB, which an agent that migrates
 * nothing shall not pay. Here by name, because a bundle's `import()` of a library in CommonJS has no names.
 */
// One of its own libraries demands this of whoever uses it, and before.
import 'reflect-metadata';

export {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
