import { controllerStep } from '../../src/migration/controller-step.ts';
import { sourceStep } from '../../src/migration/source-step.ts';
import { targetStep } from '../../src/migration/target-step.ts';
import type { Steps } from './model.ts';

export const shippedSteps: Steps = { sourceStep, targetStep, controllerStep };
