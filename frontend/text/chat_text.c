/* What templates do to text, as Python does it: blanks are stripped, values become JSON. */
#include "frontend/text/chat_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- blanks ---- */

/* Bytes of the blank that the text begins with, or 0: what str.isspace() says of one character. */
static size_t blank_at(const char *at, size_t length) {
    const unsigned char *b = (const unsigned char *)at;
    if (!length) return 0;
    if (b[0] == ' ' || (b[0] >= '\t' && b[0] <= '\r') || (b[0] >= 0x1c && b[0] <= 0x1f)) return 1;
    if (length >= 2 && b[0] == 0xc2 && (b[1] == 0x85 || b[1] == 0xa0)) return 2; /* U+0085, U+00A0 */
    if (length < 3) return 0;
    unsigned code = (b[0] & 0xfu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
    if ((b[0] & 0xf0) != 0xe0) return 0;
    bool blank = code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
                 code == 0x202f || code == 0x205f || code == 0x3000;
    return blank ? 3 : 0;
}

Piece chat_stripped(Piece piece) {
    for (size_t size; (size = blank_at(piece.at, piece.length)) > 0;) piece.at += size, piece.length -= size;
    while (piece.length) {
        size_t size = 1; /* of the last character */
        while (size < piece.length && size < 4 && (piece.at[piece.length - size] & 0xc0) == 0x80) size++;
        if (blank_at(piece.at + piece.length - size, size) != size) break;
        piece.length -= size;
    }
    return piece;
}

Piece chat_without_newlines(Piece piece, bool begin, bool end) {
    while (begin && piece.length && *piece.at == '\n') piece.at++, piece.length--;
    while (end && piece.length && piece.at[piece.length - 1] == '\n') piece.length--;
    return piece;
}

/* ---- JSON, as json.dumps(ensure_ascii=False) ---- */

static void add_string(Text *text, const char *at, size_t length) {
    text_add_n(text, "\"", 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)at[i];
        const char *named = byte ? strchr("\"\"\\\\\nn\rr\tt\ff\bb", byte) : NULL;
        if (byte == '"' || byte == '\\')
            text_add(text, "\\%c", byte);
        else if (byte < 0x20 && named)
            text_add(text, "\\%c", named[1]);
        else if (byte < 0x20)
            text_add(text, "\\u%04x", byte);
        else
            text_add_n(text, at + i, 1);
    }
    text_add_n(text, "\"", 1);
}

/* The shortest digits that read back, in the form that repr() gives a float: 1.0, 0.0001, 1e-05, 1e+16. */
static void add_real(Text *text, double value) {
    char digits[32];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, value);
        if (strtod(digits, NULL) == value) break;
    }
    int exponent = atoi(strchr(digits, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        text_add(text, "%s", digits);
        return;
    }
    int significant = (int)(strchr(digits, 'e') - digits) - (digits[0] == '-');
    significant -= significant > 1; /* the point */
    int decimals = significant - 1 - exponent;
    text_add(text, "%.*f", decimals > 1 ? decimals : 1, value);
}

static void add_break(Text *text, unsigned indent, unsigned depth) {
    if (!indent) return;
    text_add(text, "\n%*s", (int)(indent * depth), "");
}

static void add_value(Text *text, const json_t *value, unsigned indent, unsigned depth) {
    const char *comma = indent ? "," : ", ";
    size_t count = 0;
    if (json_is_string(value)) {
        add_string(text, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        text_add(text, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        add_real(text, json_real_value(value));
    } else if (json_is_array(value)) {
        text_add(text, "[");
        for (; count < json_array_size(value); count++) {
            text_add(text, "%s", count ? comma : "");
            add_break(text, indent, depth + 1);
            add_value(text, json_array_get(value, count), indent, depth + 1);
        }
        if (count) add_break(text, indent, depth);
        text_add(text, "]");
    } else if (json_is_object(value)) {
        json_t *object = (json_t *)(uintptr_t)value, *inner; /* jansson's iterators are not const */
        const char *key;
        text_add(text, "{");
        json_object_foreach(object, key, inner) {
            text_add(text, "%s", count++ ? comma : "");
            add_break(text, indent, depth + 1);
            add_string(text, key, strlen(key));
            text_add(text, ": ");
            add_value(text, inner, indent, depth + 1);
        }
        if (count) add_break(text, indent, depth);
        text_add(text, "}");
    } else {
        text_add(text, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    }
}

void chat_add_json(Render *r, const json_t *value, unsigned indent) {
    add_value(&r->out->text, value, indent, 0);
}
