/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads that do steps again and again, each in its own random order, until
 * they are told to stop: calls that meet.
 */
#ifndef KIOMMU_SELFTEST_STRESS_H
#define KIOMMU_SELFTEST_STRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KIOMMU_STRESS_THREADS 8

struct kiommu_stress;

/* @random: another number for each call. Returns 0, or what is not expected. */
typedef int (*kiommu_step)(void *what, uint64_t random);

struct kiommu_worker {
	pthread_t thread;
	struct kiommu_stress *stress;
	kiommu_step step;
	void *what;
	uint64_t calls;
	int unexpected; /* the first such answer */
};

/* All 0: nobody. */
struct kiommu_stress {
	bool stop;
	unsigned int count;
	struct kiommu_worker worker[KIOMMU_STRESS_THREADS];
};

/* One more thread, for step(@what, random). */
void kiommu_stress_add(struct kiommu_stress *stress, kiommu_step step, void *what);

/*
 * Has all stop, and forgets them. Returns 0 if each did steps, and nothing
 * unexpected; else says what, and returns how many did not.
 */
unsigned int kiommu_stress_join(struct kiommu_stress *stress);

/* Seconds since some moment. */
double kiommu_now(void);

/*
 * KIOMMU_ONLY(answer, expected, ...): 0 if @answer is 0 or one of the others,
 * which are not 0; else @answer.
 */
int kiommu_only(int answer, const int *expected);
#define KIOMMU_ONLY(_answer, ...)					\
	kiommu_only(_answer, (const int[]){ __VA_ARGS__, 0 })

#endif
