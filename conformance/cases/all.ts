/** Every case that plays the initiator, in the order of their numbers. */

import type { WireCase } from '../case.ts';
import { frontCases } from './front.ts';

export const wireCases: readonly WireCase[] = [...frontCases];
