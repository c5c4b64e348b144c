// SPDX-License-Identifier: GPL-2.0-only
/* Threads that repeat steps, see stress.h. */
#include <stdio.h>
#include <time.h>

#include "kvm_util.h"

#include "stress.h"

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *work(void *arg)
{
	struct kiommu_worker *w = arg;
	uint64_t random = 0x9e3779b97f4a7c15ull * (w - w->stress->worker + 1);

	while (!__atomic_load_n(&w->stress->stop, __ATOMIC_RELAXED)) {
		int ret = w->step(w->what, next_random(&random));

		if (ret && !w->unexpected)
			w->unexpected = ret;
		w->calls++;
	}
	return NULL;
}

void kiommu_stress_add(struct kiommu_stress *stress, kiommu_step step, void *what)
{
	struct kiommu_worker *w = &stress->worker[stress->count++];

	TEST_ASSERT(stress->count <= KIOMMU_STRESS_THREADS, "too many threads");
	*w = (struct kiommu_worker){ .stress = stress, .step = step, .what = what };
	TEST_ASSERT(!pthread_create(&w->thread, NULL, work, w), "no thread");
}

unsigned int kiommu_stress_join(struct kiommu_stress *stress)
{
	unsigned int bad = 0;

	__atomic_store_n(&stress->stop, true, __ATOMIC_RELAXED);
	for (unsigned int i = 0; i < stress->count; i++) {
		struct kiommu_worker *w = &stress->worker[i];

		pthread_join(w->thread, NULL);
		if (w->calls && !w->unexpected)
			continue;
		printf("# thread %u: %llu steps, unexpected answer %d\n", i,
		       (unsigned long long)w->calls, w->unexpected);
		bad++;
	}
	stress->count = 0;
	stress->stop = false;
	return bad;
}

double kiommu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1000000000.0;
}

int kiommu_only(int answer, const int *expected)
{
	if (!answer)
		return 0;
	for (; *expected; expected++)
		if (answer == *expected)
			return 0;
	return answer;
}
