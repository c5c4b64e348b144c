// SPDX-License-Identifier: GPL-2.0-only
/* Checks of calls that fail, see failing.h. */
#include <string.h>

#include "kvm_util.h"

#include "failing.h"

bool kiommu_documented(const struct kiommu_answer *answers, int error,
		       uint32_t status)
{
	for (; answers->error; answers++)
		if (answers->error == error &&
		    (answers->status == KIOMMU_ANY_STATUS ||
		     answers->status == status))
			return true;
	return false;
}

bool kiommu_all_or_nothing(const struct kiommu_answer *answers, int error)
{
	for (; answers->error; answers++)
		if (answers->error == error)
			return answers->unchanged;
	return false;
}

struct kiommu_state kiommu_state_of(const struct kiommu_world *w)
{
	struct kiommu_state state = {};

	TEST_ASSERT(!kiommu_get_info(w->fd, &state.info), "GET_INFO");
	if (state.info.state == KVM_IOMMU_STATE_ANCHORED)
		state.pages = kiommu_world_pages(w);
	return state;
}

bool kiommu_state_equal(const struct kiommu_state *a, const struct kiommu_state *b)
{
	return a->info.state == b->info.state &&
	       a->info.format == b->info.format && a->info.iota == b->info.iota &&
	       a->info.sync == b->info.sync &&
	       a->info.mapped_pages == b->info.mapped_pages &&
	       a->info.pinned_pages == b->info.pinned_pages &&
	       a->info.tracked_pages == b->info.tracked_pages &&
	       a->info.unsynced_pages == b->info.unsynced_pages &&
	       !memcmp(&a->pages, &b->pages, sizeof(a->pages));
}
