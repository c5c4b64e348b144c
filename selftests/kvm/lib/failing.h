/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Repeats a call so that each allocation of it, and each copy from or to user
 * space, fails once:
 *
 *	static const struct kiommu_answer answers[] = {
 *		KIOMMU_OR_NOTHING(-ENOMEM, KVM_IOMMU_STATUS_NO_MEMORY),
 *		KIOMMU_MAY(-EFAULT, KIOMMU_ANY_STATUS), {}
 *	};
 *	KIOMMU_EACH_FAILURE(w, call(w), answers, {
 *		... checks what must hold afterwards, and undoes the call
 *	});
 */
#ifndef KIOMMU_SELFTEST_FAILING_H
#define KIOMMU_SELFTEST_FAILING_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "fail_nth.h"
#include "world.h"

/* The call has no status, or its status means nothing. */
#define KIOMMU_ANY_STATUS 0xffffffffu

/* A documented failure of a call. The list ends with error 0. */
struct kiommu_answer {
	int error;
	uint32_t status;
	/* A call that fails with this error has changed nothing. */
	bool unchanged;
};

#define KIOMMU_MAY(_error, _status) { .error = _error, .status = _status }
#define KIOMMU_OR_NOTHING(_error, _status) \
	{ .error = _error, .status = _status, .unchanged = true }

/* Whether the call may fail with this error and status. */
bool kiommu_documented(const struct kiommu_answer *answers, int error,
		       uint32_t status);

/* Whether a call that fails with this error must have changed nothing. */
bool kiommu_all_or_nothing(const struct kiommu_answer *answers, int error);

/* What stays as it was when a call has changed nothing. */
struct kiommu_state {
	struct kvm_iommu_info info;
	struct kiommu_pages pages;
};

struct kiommu_state kiommu_state_of(const struct kiommu_world *w);
bool kiommu_state_equal(const struct kiommu_state *a, const struct kiommu_state *b);

/*
 * More failures than any call has: exceeding it means that the loop never ends.
 */
#define KIOMMU_MOST_FAILURES 4000u

/* Checks what the @_n-th failure of a call, which returned @_ret, has left. */
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
 * @_after runs after each call, whether it has failed (EACH_RET < 0) or not.
 * The call must succeed when nothing fails, and at least one failure must have
 * been injected before. The kernel must have fault injection.
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
