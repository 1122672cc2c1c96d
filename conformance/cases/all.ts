/** Every case that plays the initiator, in the order of their numbers. */

import type { WireCase } from '../case.ts';
import { admissionCases } from './admission.ts';
import { epochCases } from './epochs.ts';
import { flowCases } from './flows.ts';
import { frameCases } from './frames.ts';
import { frontCases } from './front.ts';
import { inventoryCases } from './inventory.ts';
import { lifeCases } from './life.ts';
import { lockCases } from './locks.ts';
import { memberCases } from './members.ts';
import { messageCases } from './messages.ts';
import { placementCases } from './placement.ts';
import { queryCases } from './queries.ts';
import { recordCases } from './records.ts';
import { reliabilityCases } from './reliability.ts';
import { rightsCases } from './rights.ts';
import { sealingCases } from './sealing.ts';
import { sendingCases } from './sending.ts';
import { storeCases } from './store.ts';
import { userSessionCases } from './user-sessions.ts';

export const wireCases: readonly WireCase[] = [
  ...frontCases,
  ...sealingCases,
  ...frameCases,
  ...reliabilityCases,
  ...epochCases,
  ...queryCases,
  ...lifeCases,
  ...messageCases,
  ...flowCases,
  ...recordCases,
  ...storeCases,
  ...sendingCases,
  ...admissionCases,
  ...placementCases,
  ...inventoryCases,
  ...rightsCases,
  ...lockCases,
  ...userSessionCases,
  ...memberCases,
];
