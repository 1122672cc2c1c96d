/**
 * Whole clusters under drawn faults, one seed a run; `campaign-b.test.ts` takes other seeds, so that
 * two workers share the work. More of them: GRAMLINE_SIM_SEEDS=10000, half of them in each file.
 *
 * A failure names its seed and how to replay it; it then becomes a named scenario in `cluster-*.test.ts`.
 */

import { testCampaign } from '../support/campaign.ts';

testCampaign(1);
