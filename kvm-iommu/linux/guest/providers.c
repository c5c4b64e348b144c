// SPDX-License-Identifier: GPL-2.0-only
/*
 * The list of the providers of guest memory, see memory_provider.h.
 *
 * providers_lock protects the list. Providers are called under providers_srcu, so
 * that kiommu_memory_unregister() can wait for these calls, and they do not wait for
 * each other.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rculist.h>
#include <linux/srcu.h>

#include "guest/providers.h"
#include "port/compat.h"

static DEFINE_MUTEX(providers_lock);
static LIST_HEAD(providers);
DEFINE_STATIC_SRCU(providers_srcu);

/* Asks one provider. Return: as kiommu_providers_find(). */
static int get_memory(const struct kiommu_memory_provider *provider,
		      const void *key, struct kiommu_found *found)
{
	struct kiommu_memory *memory;

	/*
	 * Fails while the module's exit waits for this call: it has no guest
	 * then.
	 */
	if (!try_module_get(provider->owner))
		return -ENOENT;
	memory = provider->get(key);
	if (IS_ERR_OR_NULL(memory)) {
		module_put(provider->owner);
		return memory ? PTR_ERR(memory) : -ENOENT;
	}
	*found = (struct kiommu_found){ provider, memory };
	return 0;
}

int kiommu_providers_find(const void *key, struct kiommu_found *found)
{
	const struct kiommu_memory_provider *provider;
	int ret = -ENOENT;
	int idx;

	idx = srcu_read_lock(&providers_srcu);
	list_for_each_entry_srcu(provider, &providers, list,
				 srcu_read_lock_held(&providers_srcu)) {
		ret = get_memory(provider, key, found);
		if (ret != -ENOENT)
			break;
	}
	srcu_read_unlock(&providers_srcu, idx);
	return ret;
}

void kiommu_providers_put(struct kiommu_found found)
{
	struct module *owner = found.provider->owner;

	found.provider->put(found.memory);
	module_put(owner);
}

const void *kiommu_providers_key(struct file *file)
{
	const struct kiommu_memory_provider *provider;
	const void *key = NULL;
	int idx;

	idx = srcu_read_lock(&providers_srcu);
	list_for_each_entry_srcu(provider, &providers, list,
				 srcu_read_lock_held(&providers_srcu)) {
		key = provider->key_of_file(file);
		if (key)
			break;
	}
	srcu_read_unlock(&providers_srcu, idx);
	return key;
}

void kiommu_memory_register(struct kiommu_memory_provider *provider)
{
	mutex_lock(&providers_lock);
	list_add_rcu(&provider->list, &providers);
	mutex_unlock(&providers_lock);
}
EXPORT_SYMBOL_NS_GPL(kiommu_memory_register, KIOMMU_NAMESPACE(KVM_IOMMU));

void kiommu_memory_unregister(struct kiommu_memory_provider *provider)
{
	mutex_lock(&providers_lock);
	list_del_rcu(&provider->list);
	mutex_unlock(&providers_lock);
	synchronize_srcu(&providers_srcu);
}
EXPORT_SYMBOL_NS_GPL(kiommu_memory_unregister, KIOMMU_NAMESPACE(KVM_IOMMU));
