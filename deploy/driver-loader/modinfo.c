// SPDX-License-Identifier: Apache-2.0
#include "modinfo.h"

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/cleanup.h"

struct file {
	const char *data;
	size_t len;
};

static bool within(const struct file *file, uint64_t at, uint64_t n)
{
	return at <= file->len && n <= file->len - at;
}

/* Headers need not be aligned in a file that somebody made up. */
static bool read_section(const struct file *file, const Elf64_Ehdr *header, unsigned i, Elf64_Shdr *ret)
{
	uint64_t at;

	if (i >= header->e_shnum ||
	    __builtin_add_overflow(header->e_shoff, (uint64_t)i * sizeof(*ret), &at) ||
	    !within(file, at, sizeof(*ret)))
		return false;
	memcpy(ret, file->data + at, sizeof(*ret));
	return ret->sh_type == SHT_NOBITS || within(file, ret->sh_offset, ret->sh_size);
}

static bool read_header(const struct file *file, Elf64_Ehdr *ret)
{
	static const unsigned char ident[] = {
		ELFMAG0, ELFMAG1,    ELFMAG2,
		ELFMAG3, ELFCLASS64, __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB
	};

	if (!within(file, 0, sizeof(*ret)))
		return false;
	memcpy(ret, file->data, sizeof(*ret));
	return memcmp(ret->e_ident, ident, sizeof(ident)) == 0 && ret->e_type == ET_REL &&
	       ret->e_shentsize == sizeof(Elf64_Shdr);
}

static bool is_named(const struct file *file, const Elf64_Shdr *names, const Elf64_Shdr *section,
		     const char *name)
{
	size_t len = strlen(name) + 1;

	return names->sh_type != SHT_NOBITS && section->sh_name < names->sh_size &&
	       names->sh_size - section->sh_name >= len &&
	       memcmp(file->data + names->sh_offset + section->sh_name, name, len) == 0;
}

/* What is too long to be ours is damaged. */
static int take(struct modinfo *info, const char *entry)
{
	const struct {
		const char *key;
		char *value;
		size_t size;
	} keys[] = {
		{ "name=", info->name, sizeof(info->name) },
		{ "version=", info->version, sizeof(info->version) },
		{ "srcversion=", info->srcversion, sizeof(info->srcversion) },
		{ "vermagic=", info->vermagic, sizeof(info->vermagic) },
		{ "depends=", info->depends, sizeof(info->depends) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t n = strlen(keys[i].key);

		if (strncmp(entry, keys[i].key, n) != 0)
			continue;
		if (strlen(entry + n) >= keys[i].size)
			return -EBADMSG;
		memcpy(keys[i].value, entry + n, strlen(entry + n) + 1);
	}
	return 0;
}

static int parse_strings(const char *text, size_t len, struct modinfo *ret)
{
	struct modinfo info = { 0 };

	if (len == 0 || text[len - 1] != '\0')
		return -EBADMSG;
	for (size_t at = 0; at < len; at += strlen(text + at) + 1)
		if (take(&info, text + at) < 0)
			return -EBADMSG;
	*ret = info;
	return 0;
}

int modinfo_parse(const void *data, size_t len, struct modinfo *ret)
{
	const struct file file = { data, len };
	Elf64_Shdr names, section;
	Elf64_Ehdr header;

	if (!read_header(&file, &header) || !read_section(&file, &header, header.e_shstrndx, &names))
		return -EBADMSG;
	for (unsigned i = 0; i < header.e_shnum; i++) {
		if (!read_section(&file, &header, i, &section))
			return -EBADMSG;
		if (section.sh_type == SHT_PROGBITS && is_named(&file, &names, &section, ".modinfo"))
			return parse_strings(file.data + section.sh_offset, section.sh_size, ret);
	}
	return -EBADMSG;
}
