/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that repeat steps, each in a random order of its own, until they are
 * told to stop: for calls that race.
 */
#ifndef KIOMMU_SELFTEST_STRESS_H
#define KIOMMU_SELFTEST_STRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KIOMMU_STRESS_THREADS 8

struct kiommu_stress;

/* @random differs from call to call. Return: 0, or an unexpected answer. */
typedef int (*kiommu_step)(void *what, uint64_t random);

struct kiommu_worker {
	pthread_t thread;
	struct kiommu_stress *stress;
	kiommu_step step;
	void *what;
	uint64_t calls;
	int unexpected; /* the first such answer */
};

/* All zero: no thread. */
struct kiommu_stress {
	bool stop;
	unsigned int count;
	struct kiommu_worker worker[KIOMMU_STRESS_THREADS];
};

/* Starts one more thread, which repeats step(@what, random). */
void kiommu_stress_add(struct kiommu_stress *stress, kiommu_step step, void *what);

/*
 * Stops all threads and removes them. Return: 0 if each of them made steps and
 * got no unexpected answer; otherwise the number of those that did not, after
 * printing their answers.
 */
unsigned int kiommu_stress_join(struct kiommu_stress *stress);

/* Monotonic time, seconds. */
double kiommu_now(void);

/*
 * KIOMMU_ONLY(answer, expected, ...): 0 if @answer is 0 or one of the others,
 * which are not 0; else @answer.
 */
int kiommu_only(int answer, const int *expected);
#define KIOMMU_ONLY(_answer, ...)					\
	kiommu_only(_answer, (const int[]){ __VA_ARGS__, 0 })

#endif
