/* The tables of the common keys: see common_keys.h. */
#include "common_keys.h"

const Role roles[ROLE_COUNT] = {
    {"\"level\"", 7, NAME_LEVEL, NAME_AT_L, NAME_MESSAGE},
    {"\"message\"", 9, NAME_MESSAGE, NAME_JOURNALD_MESSAGE, NAME_TIMESTAMP},
    {"\"timestamp\"", 11, NAME_TIMESTAMP, NAME_AT_T, NAME_T},
};

#define NAME_TEXT(name, text) {text, sizeof(text) - 1},
const NameText names[NAME_COUNT] = {ALL_NAMES(NAME_TEXT)};
#undef NAME_TEXT

byte places[PLACES];
byte longest_name;

void
fill_common_keys(void)
{
    memset(places, NAME_NONE, sizeof(places));
    for (unsigned name = 0; name < NAME_COUNT; name++) {
        unsigned place = place_of((const byte *)names[name].text, names[name].size);
        while (places[place] != NAME_NONE)
            place = (place + 1) % PLACES;
        places[place] = (byte)name;
        if (names[name].size > longest_name)
            longest_name = names[name].size;
    }
}
