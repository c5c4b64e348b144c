/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A call of which each allocation, and each copy from or to user space, fails once:
 *
 *	static const struct kiommu_answer answers[] = {
 *		KIOMMU_OR_NOTHING(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY),
 *		KIOMMU_MAY(-EFAULT, KIOMMU_ANY_STATUS), {}
 *	};
 *	KIOMMU_EACH_FAILURE(w, call(w), answers, {
 *		... what must hold afterwards, and takes the call back
 *	});
 */
#ifndef KIOMMU_SELFTEST_FAILING_H
#define KIOMMU_SELFTEST_FAILING_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "fail_nth.h"
#include "world.h"

/* The call has no status, or it means nothing. */
#define KIOMMU_ANY_STATUS 0xffffffffu

/* An answer that is documented for a call. The list ends with error 0. */
struct kiommu_answer {
	int error;
	uint32_t status;
	/* A failure that says so has changed nothing. */
	bool unchanged;
};

#define KIOMMU_MAY(_error, _status) { .error = _error, .status = _status }
#define KIOMMU_OR_NOTHING(_error, _status) \
	{ .error = _error, .status = _status, .unchanged = true }

/* Whether a call can have failed with that. */
bool kiommu_documented(const struct kiommu_answer *answers, int error,
		       uint32_t status);

/* Whether it has changed nothing then. */
bool kiommu_all_or_nothing(const struct kiommu_answer *answers, int error);

/* What a call that has changed nothing leaves as it was. */
struct kiommu_state {
	struct kvm_iommu_info info;
	struct kiommu_pages pages;
};

struct kiommu_state kiommu_state_of(const struct kiommu_world *w);
bool kiommu_state_equal(const struct kiommu_state *a, const struct kiommu_state *b);

/* More failures than any call has: one that has no end is an error. */
#define KIOMMU_MOST_FAILURES 4000u

/* What the @_n-th failure of a call, which returned @_ret, must have left. */
#define KIOMMU_CHECK_FAILURE(_w, _answers, _before, _n, _ret, _fired) do {	\
	const struct kiommu_answer *_list = (_answers);			\
	const char *_wrong;						\
	bool _known = (_ret) >= 0 || ((_fired) &&			\
		kiommu_documented(_list, _ret, (_w)->status));		\
									\
	EXPECT_TRUE(_known) {						\
		TH_LOG("failure %u: %d, status %d", _n, _ret, (_w)->status); \
	}								\
	if ((_ret) < 0 && kiommu_all_or_nothing(_list, _ret)) {		\
		struct kiommu_state _now = kiommu_state_of(_w);		\
									\
		EXPECT_TRUE(kiommu_state_equal(_before, &_now)) {	\
			TH_LOG("failure %u, %d: it has changed something", _n, _ret); \
		}							\
	}								\
	_wrong = kiommu_world_wrong(_w);				\
	EXPECT_EQ(NULL, _wrong) {					\
		TH_LOG("failure %u, %d: %s", _n, _ret, _wrong);		\
	}								\
} while (0)

/*
 * @_after runs after each call, whether it has failed (EACH_RET < 0) or not. A call
 * of which nothing fails must succeed, and one must have failed before. The kernel
 * must have fault injection.
 */
#define KIOMMU_EACH_FAILURE(_w, _call, _answers, _after...) do {		\
	unsigned int _n = 0;						\
	bool _fired = true;						\
									\
	while (_fired) {						\
		struct kiommu_state _before = kiommu_state_of(_w);	\
		int EACH_RET;						\
									\
		ASSERT_GT(KIOMMU_MOST_FAILURES, ++_n);			\
		(_w)->status = KIOMMU_ANY_STATUS;			\
		kiommu_fail_nth(_n);					\
		EACH_RET = (_call);					\
		_fired = kiommu_fail_nth_fired();			\
		KIOMMU_CHECK_FAILURE(_w, _answers, &_before, _n,	\
				     EACH_RET, _fired);			\
		_after;							\
	}								\
	TH_LOG("%s: %u failures", #_call, _n - 1);			\
	EXPECT_LT(1, _n);						\
} while (0)

#endif /* KIOMMU_SELFTEST_FAILING_H */
