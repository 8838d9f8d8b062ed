/* Grammar: tokens in (token.h), syntax tree out (ast.h). Line ends mean nothing, except that after an error
 * parsing goes on at the next line of the same block (token SYNC, see tokens_recover). */
%define api.pure full
%define api.location.type {Span}
%define parse.error custom
%define parse.lac full
%expect 0
%locations
%param {Parser *parser}

%code requires {
#include "frontend/language/token.h"
}

%union {
    const Token *token;
    Expr *expr;
    ExprList exprs;
    Arg arg;
    ArgList args;
    NameList names;
    Stmt *stmt;
    StmtList stmts;
    Block *block;
    Item *item;
    Section *section;
    Entry *entry;
    Name name;
    Clause clause;
}

%code {
#include <string.h>

#define YYLLOC_DEFAULT(Current, Rhs, N)                                                                      \
    do {                                                                                                     \
        (Current).beg = (N) ? YYRHSLOC(Rhs, 1).beg : YYRHSLOC(Rhs, 0).end;                                   \
        (Current).end = (N) ? YYRHSLOC(Rhs, N).end : YYRHSLOC(Rhs, 0).end;                                   \
    } while (0)
#define YYINITDEPTH 1000
#define YYMAXDEPTH 10000

static int yylex(YYSTYPE *value, YYLTYPE *span, Parser *parser);
static void yyerror(const YYLTYPE *span, Parser *parser, const char *message);
}

%token START_FILE START_VALUE SYNC JUNK
%token <token> NAME "a name" INT "a number" FLOAT SIZE "a size" STRING "text in quotes"
%token DOTS ".." ARROW "->"
%token MEMORY "memory"
%token AS "as" RETURN "return" REPEAT "repeat" IN "in" SCOPE "scope" FROZEN "frozen" ON "on"
%token TRANSPOSED "transposed" TRAIN_TOO "train"
%token <token> KEY "a key" WORD UNIT EVERY ONTO "onto"
%token <token> KW_LANGUAGE "language" KW_DIMS "dims" KW_SECTION KW_BLOCK "block" KW_MODEL "model"
%token <token> KW_WEIGHTS "weights" KW_ADAPT "adapt" KW_TIE "tie" KW_INIT "init" KW_DEVICE "device"
%token <token> KW_SIZE KW_MAXIMIZE "maximize" KW_PIN

%left '+' '-'
%left '*' '/'
%precedence NEGATION

%type <item> item
%type <section> section dims entries
%type <entry> entry
%type <block> block params
%type <exprs> shapes exprs
%type <expr> expr postfix primary shape arg_value setting opt_setting_value
%type <arg> arg
%type <args> args
%type <names> targets
%type <stmt> stmt
%type <stmts> body stmts
%type <name> opt_unit opt_scope opt_on opt_train opt_transposed
%type <clause> clause
%type <token> number word device size

%%

start: START_FILE items | START_VALUE expr { parser->value = $2; };

items: %empty | items item { if ($2) tree_add_item(parser, $2); };

item:
  KW_LANGUAGE INT            { $$ = tree_item(parser, ITEM_LANGUAGE, @$); $$->value = tree_leaf(parser, EXPR_INT, $2); }
| section                    { $$ = tree_item(parser, ITEM_SECTION, @$); $$->section = $1; $1->span = @$; }
| block                      { $$ = tree_item(parser, ITEM_BLOCK, @$); $$->block = $1; $1->span = @$; }
| KW_MODEL NAME body         {
    $$ = tree_item(parser, ITEM_MODEL, @$);
    $$->block = NEW(parser->arena, Block);
    $$->block->name = tree_plain_name(parser, $2);
    $$->block->body = $3;
    $$->block->span = @$;
  }
| KW_WEIGHTS STRING opt_transposed {
    $$ = tree_item(parser, ITEM_WEIGHTS, @$);
    $$->name = tree_name($2);
    $$->other = $3;
  }
| KW_WEIGHTS STRING FROZEN opt_transposed {
    $$ = tree_item(parser, ITEM_WEIGHTS, @$);
    $$->name = tree_name($2);
    $$->flag = true;
    $$->other = $4;
  }
| KW_ADAPT setting opt_on opt_train {
    $$ = tree_item(parser, ITEM_ADAPT, @$);
    $$->value = $2;
    $$->name = $3;
    $$->other = $4;
  }
| KW_TIE STRING '=' STRING   { $$ = tree_item(parser, ITEM_TIE, @$); $$->name = tree_name($2); $$->other = tree_name($4); }
| KW_INIT setting            { $$ = tree_item(parser, ITEM_INIT, @$); $$->value = $2; }
| KW_INIT STRING setting     { $$ = tree_item(parser, ITEM_INIT, @$); $$->name = tree_name($2); $$->value = $3; }
| KW_DEVICE device           { $$ = tree_item(parser, ITEM_DEVICE, @$); $$->name = tree_name($2); }
| KW_DEVICE device MEMORY size {
    $$ = tree_item(parser, ITEM_DEVICE, @$);
    $$->name = tree_name($2);
    $$->value = tree_size(parser, $4);
  }
| KW_SIZE size               {
    $$ = tree_item(parser, strcmp($1->text, "host") ? ITEM_BUDGET : ITEM_HOST, @$);
    $$->value = tree_size(parser, $2);
  }
| KW_MAXIMIZE NAME           { $$ = tree_item(parser, ITEM_MAXIMIZE, @$); $$->name = tree_plain_name(parser, $2); }
| KW_PIN STRING              {
    ItemKind kind = ITEM_KEEP;
    while (strcmp(item_word[kind], $1->text)) kind++;
    $$ = tree_item(parser, kind, @$);
    $$->name = tree_name($2);
  }
| error SYNC                 { $$ = NULL; yyerrok; }
;

device: NAME | STRING;
size: SIZE | number;
number: INT | FLOAT;
opt_transposed: %empty { $$ = (Name){0}; } | TRANSPOSED STRING { $$ = tree_name($2); };
opt_on: %empty { $$ = (Name){0}; } | ON STRING { $$ = tree_name($2); };
opt_train: %empty { $$ = (Name){0}; } | TRAIN_TOO STRING { $$ = tree_name($2); };
setting: NAME { $$ = tree_leaf(parser, EXPR_NAME, $1); } | NAME '(' args opt_comma ')' { $$ = tree_call(parser, @$, $1, $3); };

/* ---- sections ---- */

section:
  KW_DIMS '{' dims '}'       { $$ = $3; $$->kind = SECTION_DIMS; $$->body = (Span){@2.beg, @4.end}; }
| KW_SECTION '{' entries '}' {
    $$ = $3;
    while (strcmp(section_name[$$->kind], $1->text)) $$->kind++;
    $$->body = (Span){@2.beg, @4.end};
  }
;
dims:
  %empty                     { $$ = tree_section(parser); }
| dims NAME '=' opt_setting_value {
    tree_add_entry(parser, $1, &(Entry){.key = tree_plain_name(parser, $2), .value = $4, .span = span_join(@2, @4)});
    $$ = $1;
  }
| dims error SYNC            { $$ = $1; yyerrok; }
;
opt_setting_value: expr;
entries:
  %empty                     { $$ = tree_section(parser); }
| entries entry              { $2->span = @2; tree_add_entry(parser, $1, $2); $$ = $1; }
| entries error SYNC         { $$ = $1; yyerrok; }
;
entry:
  KEY expr opt_unit          {
    $$ = NEW(parser->arena, Entry);
    *$$ = (Entry){.key = tree_name($1), .value = $2, .unit = $3};
  }
| entry clause               { $$ = $1; $2.span = @2; *vec_add(parser->arena, &$$->clause) = $2; }
;
opt_unit: %empty { $$ = (Name){0}; } | UNIT { $$ = tree_name($1); };
clause:
  WORD                       { $$ = (Clause){.word = tree_name($1)}; }
| EVERY number UNIT          {
    Expr *value = tree_leaf(parser, $2->kind == INT ? EXPR_INT : EXPR_FLOAT, $2);
    $$ = (Clause){.word = tree_name($1), .value = value, .unit = tree_name($3)};
  }
| ONTO STRING                {
    $$ = (Clause){.word = tree_name($1), .value = tree_leaf(parser, EXPR_STRING, $2)};
  }
| ONTO NAME                  {
    $$ = (Clause){.word = tree_name($1), .value = tree_leaf(parser, EXPR_NAME, $2)};
  }
| number UNIT                {
    $$ = (Clause){.word = tree_name($2), .value = tree_leaf(parser, $1->kind == INT ? EXPR_INT : EXPR_FLOAT, $1)};
  }
;

/* ---- blocks and statements ---- */

block: KW_BLOCK NAME '(' params opt_comma ')' "->" shapes body {
    $$ = $4;
    $$->name = tree_plain_name(parser, $2);
    $$->result = $8;
    $$->body = $9;
  }
;
params:
  NAME ':' shape             {
    $$ = NEW(parser->arena, Block);
    *vec_add(parser->arena, &$$->param) = (BlockParam){tree_plain_name(parser, $1), $3};
  }
| params ',' NAME ':' shape  {
    $$ = $1;
    *vec_add(parser->arena, &$$->param) = (BlockParam){tree_plain_name(parser, $3), $5};
  }
;
shapes:
  shape                      { $$ = (ExprList){0}; *vec_add(parser->arena, &$$) = $1; }
| shapes ',' shape           { $$ = $1; *vec_add(parser->arena, &$$) = $3; }
;
body: '{' stmts '}'          { $$ = $2; $$.span = @$; };
stmts:
  %empty                     { $$ = (StmtList){0}; }
| stmts stmt                 { $$ = $1; *vec_add(parser->arena, &$$) = $2; }
| stmts error SYNC           { $$ = $1; yyerrok; }
;
stmt:
  targets '=' expr           { $$ = tree_stmt(parser, STMT_ASSIGN, @$); $$->target = $1; $$->value = $3; }
| RETURN exprs               { $$ = tree_stmt(parser, STMT_RETURN, @$); $$->result = $2; }
| REPEAT NAME IN expr ".." expr opt_scope body {
    $$ = tree_stmt(parser, STMT_REPEAT, @$);
    $$->variable = tree_plain_name(parser, $2);
    $$->low = $4;
    $$->high = $6;
    $$->scope = $7;
    $$->body = $8;
  }
;
targets:
  NAME                       { $$ = (NameList){0}; *vec_add(parser->arena, &$$) = tree_plain_name(parser, $1); }
| targets ',' NAME           { $$ = $1; *vec_add(parser->arena, &$$) = tree_plain_name(parser, $3); }
;
opt_scope: %empty { $$ = (Name){0}; } | SCOPE STRING { $$ = tree_name($2); };

/* ---- expressions ---- */

exprs:
  expr                       { $$ = (ExprList){0}; *vec_add(parser->arena, &$$) = $1; }
| exprs ',' expr             { $$ = $1; *vec_add(parser->arena, &$$) = $3; }
;
expr:
  postfix
| expr '+' expr              { $$ = tree_pair(parser, EXPR_BINARY, @$, '+', $1, $3); }
| expr '-' expr              { $$ = tree_pair(parser, EXPR_BINARY, @$, '-', $1, $3); }
| expr '*' expr              { $$ = tree_pair(parser, EXPR_BINARY, @$, '*', $1, $3); }
| expr '/' expr              { $$ = tree_pair(parser, EXPR_BINARY, @$, '/', $1, $3); }
| '-' expr %prec NEGATION    { $$ = tree_pair(parser, EXPR_NEGATE, @$, '-', $2, NULL); }
;
postfix: primary | postfix AS shape { $$ = tree_pair(parser, EXPR_AS, @$, 0, $1, $3); };
primary:
  NAME                       { $$ = tree_leaf(parser, EXPR_NAME, $1); }
| INT                        { $$ = tree_leaf(parser, EXPR_INT, $1); }
| FLOAT                      { $$ = tree_leaf(parser, EXPR_FLOAT, $1); }
| SIZE                       { $$ = tree_leaf(parser, EXPR_SIZE, $1); }
| STRING                     { $$ = tree_leaf(parser, EXPR_STRING, $1); }
| NAME '(' args opt_comma ')' { $$ = tree_call(parser, @$, $1, $3); }
| NAME '(' ')'               { $$ = tree_call(parser, @$, $1, (ArgList){0}); }
| '(' expr ')'               { $$ = $2; }
| '(' expr ',' exprs opt_comma ')' {
    ExprList items = {0};
    *vec_add(parser->arena, &items) = $2;
    for (uint32_t i = 0; i < $4.count; i++) *vec_add(parser->arena, &items) = $4.at[i];
    $$ = tree_list(parser, EXPR_TUPLE, @$, items);
  }
;
shape: '[' exprs opt_comma ']' { $$ = tree_list(parser, EXPR_SHAPE, @$, $2); };
opt_comma: %empty | ',';

args:
  arg                        { $$ = (ArgList){0}; *vec_add(parser->arena, &$$) = $1; }
| args ',' arg               { $$ = $1; *vec_add(parser->arena, &$$) = $3; tree_check_named(parser, &$$); }
;
arg:
  arg_value                  { $$ = (Arg){.value = $1, .span = @$}; }
| word '=' arg_value         { $$ = (Arg){.name = tree_plain_name(parser, $1), .value = $3, .span = @$}; }
;
word: NAME;
arg_value:
  expr
| shape
| expr ".." expr             { $$ = tree_pair(parser, EXPR_RANGE, @$, 0, $1, $3); }
;

%%

static int yylex(YYSTYPE *value, YYLTYPE *span, Parser *parser) {
    *span = parser->token.at[parser->cursor].span;
    if (!parser->started) {
        parser->started = true;
        return parser->start;
    }
    if (parser->resync) {
        parser->resync = false;
        return SYNC;
    }
    parser->last = parser->cursor;
    if (parser->cursor + 1 < parser->token.count) parser->cursor++;
    value->token = &parser->token.at[parser->last];
    *span = value->token->span;
    return value->token->kind;
}

static int yyreport_syntax_error(const yypcontext_t *context, Parser *parser) {
    yysymbol_kind_t expected[YYNTOKENS];
    int count = yypcontext_expected_tokens(context, expected, YYNTOKENS);
    int kinds[YYNTOKENS] = {0};
    if (count < 0) return count;
    for (int i = 0; i < YYMAXUTOK + 1; i++)
        for (int k = 0; k < count; k++)
            if (yytranslate[i] == expected[k]) kinds[k] = i;
    syntax_error(parser, kinds, (uint32_t)count);
    tokens_recover(parser);
    return 0;
}

/* Called only when the grammar's stack is full: a chain such as "- - - - ..." that never ends. */
static void yyerror(const YYLTYPE *span, Parser *parser, const char *message) {
    (void)message;
    diag_error(parser->diag, E0106, *span, "this expression is nested too deeply");
}

bool parse_tokens(Parser *parser) {
    return yyparse(parser) == 0 && diag_errors(parser->diag) == 0;
}
