/** All targets, in the order in which `gramline fuzz --list` names them. */

import type { Target } from '../engine/target.ts';
import { clientTarget } from './client-target.ts';
import { codecTargets } from './codec-targets.ts';
import { conformanceTarget } from './conformance-target.ts';
import { coordinatorTarget } from './coordinator-target.ts';
import { handshakeTargets } from './handshake-targets.ts';
import { joiningTarget } from './joining-target.ts';
import { nodeTarget } from './node-target.ts';
import { sessionTargets } from './session-targets.ts';
import { storeTargets } from './store-targets.ts';
import { textTargets } from './text-targets.ts';

export const TARGETS: readonly Target[] = [
  ...codecTargets,
  ...textTargets,
  ...storeTargets,
  ...handshakeTargets,
  ...sessionTargets,
  coordinatorTarget,
  nodeTarget,
  joiningTarget,
  clientTarget,
  conformanceTarget,
];
