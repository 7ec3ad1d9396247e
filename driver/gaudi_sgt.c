// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device mappings of an export, around two faults of the kernel's helper (seen in Linux 7.3):
 *
 * - behind an IOMMU dma_buf_phys_vec_to_sgt() puts every range at the start of the IOVA space, so that a second range
 *   fails with -EADDRINUSE. Here each range gets a table of its own, and importers see one table made of all;
 * - it leaves sg_table.orig_nents at 0, and dma_buf_free_sgt() frees that many entries: none.
 *
 * Both stay right when the helper is mended.
 */
#include <linux/dma-buf-mapping.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "gaudi_device.h"

struct gaudi_sgt {
	struct sg_table sgt; /* all parts together; what importers see */
	unsigned int nr;
	struct sg_table *parts[];
};

static struct sg_table *gaudi_sgt_map_range(struct gaudi_export *exp, unsigned int i,
					    struct dma_buf_attachment *attach, enum dma_data_direction dir)
{
	struct phys_vec vec = {
		.paddr = exp->gdev->phys + exp->ranges[i].offset,
		.len = exp->ranges[i].len,
	};

	return dma_buf_phys_vec_to_sgt(attach, exp->gdev->provider, &vec, 1, vec.len, dir);
}

static void gaudi_sgt_unmap_range(struct sg_table *sgt, struct dma_buf_attachment *attach,
				  enum dma_data_direction dir)
{
	sgt->orig_nents = sgt->nents;
	dma_buf_free_sgt(attach, sgt, dir);
}

static void gaudi_sgt_free(struct gaudi_sgt *gs, struct dma_buf_attachment *attach,
			   enum dma_data_direction dir)
{
	unsigned int i;

	for (i = 0; i < gs->nr; i++)
		gaudi_sgt_unmap_range(gs->parts[i], attach, dir);
	gs->sgt.orig_nents = gs->sgt.nents;
	sg_free_table(&gs->sgt);
	kvfree(gs);
}

static int gaudi_sgt_join(struct gaudi_sgt *gs)
{
	struct scatterlist *from, *to;
	unsigned int i, j, nents = 0;
	int ret;

	for (i = 0; i < gs->nr; i++)
		nents += gs->parts[i]->nents;
	ret = sg_alloc_table(&gs->sgt, nents, GFP_KERNEL);
	if (ret)
		return ret;
	to = gs->sgt.sgl;
	for (i = 0; i < gs->nr; i++) {
		for_each_sgtable_dma_sg(gs->parts[i], from, j) {
			sg_dma_address(to) = sg_dma_address(from);
			sg_dma_len(to) = sg_dma_len(from);
			to = sg_next(to);
		}
	}
	/* There is no CPU side, and importers can see that, as with the helper's own tables. */
	gs->sgt.orig_nents = 0;
	return 0;
}

/**
 * gaudi_sgt_map - map an export for a device
 * @exp: export, not revoked; its dma-resv held
 * @attach: of the importer, a PCI device
 * @dir: direction
 *
 * Returns the table, for gaudi_sgt_unmap(), or an error pointer.
 */
struct sg_table *gaudi_sgt_map(struct gaudi_export *exp, struct dma_buf_attachment *attach,
			       enum dma_data_direction dir)
{
	struct gaudi_sgt *gs;
	struct sg_table *part;
	unsigned int i;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);
	if (exp->nr_ranges == 1)
		return gaudi_sgt_map_range(exp, 0, attach, dir);

	gs = kvzalloc_flex(*gs, parts, exp->nr_ranges);
	if (!gs)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < exp->nr_ranges; i++) {
		part = gaudi_sgt_map_range(exp, i, attach, dir);
		if (IS_ERR(part)) {
			ret = PTR_ERR(part);
			goto err_free;
		}
		gs->parts[gs->nr++] = part;
	}
	ret = gaudi_sgt_join(gs);
	if (ret)
		goto err_free;
	return &gs->sgt;

err_free:
	gaudi_sgt_free(gs, attach, dir);
	return ERR_PTR(ret);
}

void gaudi_sgt_unmap(struct gaudi_export *exp, struct dma_buf_attachment *attach, struct sg_table *sgt,
		     enum dma_data_direction dir)
{
	dma_resv_assert_held(attach->dmabuf->resv);
	if (exp->nr_ranges == 1)
		gaudi_sgt_unmap_range(sgt, attach, dir);
	else
		gaudi_sgt_free(container_of(sgt, struct gaudi_sgt, sgt), attach, dir);
}
