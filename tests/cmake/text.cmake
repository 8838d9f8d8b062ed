# Tokenizers, against what the tokenizers library said.
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
remat_test(test_tokenizer unit/test_tokenizer.c LIBS remat_frontend PkgConfig::JANSSON)
target_compile_definitions(test_tokenizer PRIVATE REMAT_TOKENIZER_CASES="${CMAKE_SOURCE_DIR}/tests/cases/tokenizer")
